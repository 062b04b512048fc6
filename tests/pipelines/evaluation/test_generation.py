"""BLEU, ROUGE and METEOR against values worked out by hand, and against what the libraries document."""

from __future__ import annotations

import math

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from tests.bench.languages.sentences import ANSWERS, near_and_wrong
from tests.transforms.test_augment_text import write_wordnet
from trichord.infra.errors import ConfigError
from trichord.pipelines.evaluation.generation import ROUGE, generation_figures

CAT = "the cat sat on the mat"


def figures(answer: str, *references: str, **options):
    return generation_figures([answer], [references], **options).to_dict()


def test_the_same_words_are_a_perfect_answer():
    found = figures(CAT, CAT)
    assert found["bleu"] == pytest.approx(100)
    assert [found[name] for name in ROUGE] == [1, 1, 1]
    assert found["meteor"] == pytest.approx(1 - 0.5 * (1 / 6) ** 3)  # one chunk of six matches


def test_other_words_are_none():
    found = figures("dogs bark loudly", CAT)
    assert [found[name] for name in (*ROUGE, "meteor")] == [0, 0, 0, 0]
    assert found["bleu"] < 10  # smoothed, never quite 0 for texts this short


def test_bleu_is_the_geometric_mean_of_precisions_times_the_brevity_penalty():
    # the cat sat on mat: unigrams 5/5, bigrams 3/4, trigrams 2/3, 4-grams 1/2; 5 words against 6
    expected = 100 * math.exp(1 - 6 / 5) * (1 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert figures("the cat sat on mat", CAT)["bleu"] == pytest.approx(expected)


def test_bleu_counts_over_the_corpus_and_takes_as_many_references_as_each_answer_has():
    answers, references = [CAT, "a dog barks at the man"], [[CAT], ["a dog barks", "a dog barks at the man"]]
    assert generation_figures(answers, references).bleu == pytest.approx(100)
    assert "tok:13a" in generation_figures(answers, references).bleu_signature
    # unigrams 11/12, bigrams 9/10, trigrams 7/8, 4-grams 5/6, equal lengths
    answers[1] = "a dog barks at the tree"
    expected = 100 * (11 / 12 * 9 / 10 * 7 / 8 * 5 / 6) ** 0.25
    assert generation_figures(answers, references).bleu == pytest.approx(expected)


def test_rouge_counts_shared_words_pairs_and_the_longest_common_sequence():
    found = figures("the cat the mat sat on", CAT)
    assert found["rouge_1"] == pytest.approx(1)
    assert found["rouge_2"] == pytest.approx(3 / 5)  # the cat, the mat, sat on
    assert found["rouge_l"] == pytest.approx(4 / 6)  # the cat sat on
    found = figures("the cat", CAT)
    assert found["rouge_1"] == pytest.approx(2 * 1 * (2 / 6) / (1 + 2 / 6))


def test_rouge_is_that_of_its_library_for_english():
    answer, reference = "Two big dogs were running across a grassy field!", "Dogs run over the big, grassy fields (2)"
    scores = RougeScorer(list(ROUGE.values()), use_stemmer=True).score(reference, answer)
    found = figures(answer, reference)
    assert [found[name] for name in ROUGE] == [pytest.approx(scores[kind].fmeasure) for kind in ROUGE.values()]


def test_the_closest_of_several_references_counts():
    assert figures(CAT, "no", CAT)["rouge_l"] == 1
    assert figures(CAT, "no", CAT)["meteor"] == figures(CAT, CAT)["meteor"]


def test_letters_of_other_scripts_are_words_too():
    found = figures("червоний автобус", "червоний автобус")
    assert found["rouge_1"] == 1
    assert found["meteor"] > 0.9
    assert figures("ein Bär", "ein Bar")["rouge_1"] == 0.5


@pytest.mark.parametrize("language", ANSWERS)
def test_a_near_answer_is_clearly_above_a_wrong_one_in_each_language(language: str):
    references, near, wrong = near_and_wrong(language)
    one, other = (generation_figures(given, [[text] for text in references]) for given in (near, wrong))
    assert one.languages == other.languages == {language: 10}
    assert one.bleu > 60 > 10 > other.bleu
    assert one.rouge_l > 0.85 > 0.3 > other.rouge_l
    assert one.meteor > 0.85 > 0.3 > other.meteor
    for given, reference in zip(near, references, strict=True):  # and each answer by itself
        assert figures(given, reference)["rouge_l"] > 0.5
        assert figures(given, reference)["bleu"] > 15


@pytest.mark.parametrize(("language", "tokenizer"), [("zh", "zh"), ("ja", "char"), ("ko", "char"), ("th", "char"),
                                                     ("ar", "intl"), ("de", "13a"), ("en", "13a")])  # fmt: skip
def test_bleu_is_sacrebleus_own_by_the_languages_tokenizer(language: str, tokenizer: str):
    references, near, _ = near_and_wrong(language)
    found = generation_figures(near, [[text] for text in references])
    own = BLEU(tokenize=tokenizer)
    assert found.bleu == pytest.approx(own.corpus_score(near, [references]).score)
    assert found.bleu_signature == str(own.get_signature())


def test_answers_of_several_languages_are_each_counted_by_their_own():
    answers = [ANSWERS["zh"][0][0], ANSWERS["en"][0][0], ANSWERS["th"][0][0]]
    found = generation_figures(answers, [[text] for text in answers])
    assert found.bleu == pytest.approx(100)
    assert found.bleu_signature.count("tok:13a+char+zh") == 1
    assert found.languages == {"en": 1, "th": 1, "zh": 1}
    assert (
        found.meteor_synonyms == "none: words and stems alone; th, zh: words alone (stems and synonyms are of English)"
    )


def test_chinese_rouge_counts_characters():
    found = figures("红色的车停在路边", "蓝色的车停在路旁")  # 6 of 8 in order
    assert found["rouge_1"] == found["rouge_l"] == pytest.approx(6 / 8)
    assert found["rouge_2"] == pytest.approx(5 / 7)


def test_stems_are_of_english_alone():
    assert figures("the dogs", "the dog")["meteor"] > figures("the dogs", "the dog", languages=["de"])["meteor"]
    assert figures("die Hunden", "die Hunde", languages=["de"])["rouge_1"] == 0.5
    assert figures("chats", "chat", languages=["fr"])["meteor_synonyms"].startswith("fr: words alone")


def test_meteor_is_that_of_the_paper():
    # 3 of 4 words match (stem of runs: run), of 6: P 3/4, R 1/2; chunks: `the dog runs` is one
    fmean = (3 / 4 * 1 / 2) / (0.9 * 3 / 4 + 0.1 * 1 / 2)
    expected = fmean * (1 - 0.5 * (1 / 3) ** 3)
    assert figures("the dog runs fast", "the dog run in a park")["meteor"] == pytest.approx(expected)


def test_synonyms_count_where_a_wordnet_is_named_and_the_figure_says_so(tmp_path):
    folder = str(write_wordnet(tmp_path / "dict"))
    without, with_synonyms = figures("a dog", "a hound"), figures("a dog", "a hound", wordnet=folder)
    assert without["meteor_synonyms"] == "none: words and stems alone"
    assert "most frequent sense in WordNet" in with_synonyms["meteor_synonyms"]
    assert with_synonyms["meteor"] > without["meteor"]
    assert with_synonyms["meteor"] == pytest.approx(1 - 0.5 * (1 / 2) ** 3)
    assert figures("a dog", "a frump", wordnet=folder)["meteor"] == without["meteor"], "another sense"


def test_a_folder_without_wordnet_is_named_with_its_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"^rag\.wordnet: .*has no"):
        figures(CAT, CAT, wordnet=str(tmp_path))


def test_an_answer_without_a_reference_is_the_callers_mistake():
    with pytest.raises(ValueError):
        generation_figures([], [])
    with pytest.raises(ValueError):
        generation_figures([CAT], [[]])
    with pytest.raises(ValueError):
        generation_figures([CAT, CAT], [[CAT]])


def test_an_empty_answer_scores_nothing():
    found = figures("", CAT)
    assert [found[name] for name in ("bleu", *ROUGE, "meteor")] == [0, 0, 0, 0, 0]


def test_letters_that_are_written_in_two_ways_are_the_same():
    composed, decomposed = "le café est fermé ce soir", "le cafe\u0301 est ferme\u0301 ce soir"
    same, other = (generation_figures([answer], [[composed]]) for answer in (composed, decomposed))
    assert other == same
    assert other.bleu == pytest.approx(100)


def test_a_chinese_text_with_latin_words_is_cut_as_chinese():
    text = "猫在桌子上 the cat"
    found = generation_figures([text], [[text]])
    assert found.languages == {"zh": 1}
    assert found.bleu == pytest.approx(100)
    assert generation_figures([text], [["The capital of France is 巴黎"]]).languages == {"en": 1}
