"""Answers in seven languages: each a reference and another wording that differs in a word, its order or punctuation.

Answer `i` says the same in every language. A wrong answer to question `i` is the answer to the next one.
"""

from __future__ import annotations

ANSWERS: dict[str, tuple[tuple[str, str], ...]] = {
    "zh": (
        ("故宫博物院每周一闭馆，其他时间上午八点半开门。", "故宫博物院每周一闭馆，其余时间上午八点半开门。"),
        ("一辆红色的公交车停在路边，旁边站着一个打伞的人。", "一辆红色公交车停在路边，旁边站着一个打伞的人。"),
        ("这款手机的电池容量是五千毫安时，支持无线充电。", "这款手机电池容量为五千毫安时，支持无线充电。"),
        ("水在标准大气压下加热到一百摄氏度时会沸腾。", "在标准大气压下，水加热到一百摄氏度时会沸腾。"),
        ("如需退货，请在收到商品后七天内联系客服。", "如果需要退货，请在收到商品后七天内联系客服。"),
        ("长江是中国最长的河流，全长约六千三百公里。", "长江是中国最长的河，全长大约六千三百公里。"),
        ("两个孩子在沙滩上堆沙堡，远处有一艘帆船。", "两个小孩在沙滩上堆沙堡，远处有一艘帆船！"),
        ("服药期间不要饮酒，如有不适请立即就医。", "服药期间请不要饮酒，如有不适，请立即就医。"),
        ("会议改到星期四下午三点，地点在二楼会议室。", "会议改在星期四下午三点，地点是二楼会议室。"),
        ("图书馆允许每位读者同时借阅十本书，期限为一个月。", "图书馆允许每位读者同时借阅十本书，借期为一个月。"),
    ),
    "ja": (
        ("故宮博物院は毎週月曜日が休館日で、そのほかの日は午前八時半に開館します。", "故宮博物院は毎週月曜日が休館日で、その他の日は午前八時半に開館します。"),
        ("道端に赤いバスが止まっていて、その横に傘をさした人が立っている。", "道端に赤いバスが止まっており、その横に傘をさした人が立っている。"),
        ("このスマートフォンの電池容量は五千ミリアンペア時で、ワイヤレス充電に対応しています。", "このスマートフォンのバッテリー容量は五千ミリアンペア時で、ワイヤレス充電に対応しています。"),
        ("水は標準大気圧のもとで百度に熱すると沸騰する。", "標準大気圧のもとで、水は百度に熱すると沸騰します。"),
        ("返品をご希望の場合は、商品到着後七日以内にお問い合わせ窓口までご連絡ください。", "返品を希望される場合は、商品到着後七日以内にお問い合わせ窓口へご連絡ください。"),
        ("長江は中国で最も長い川で、全長はおよそ六千三百キロメートルです。", "長江は中国でもっとも長い川で、全長は約六千三百キロメートルです。"),
        ("砂浜で二人の子どもが砂の城を作っていて、遠くに帆船が見える。", "砂浜で二人の子供が砂の城を作っていて、遠くに帆船が見える。"),
        ("薬を飲んでいる間はお酒を控え、具合が悪くなったらすぐに医師の診察を受けてください。", "薬を飲んでいる間はお酒を控え、体調が悪くなったらすぐに医師の診察を受けてください。"),
        ("会議は木曜日の午後三時に変更になり、場所は二階の会議室です。", "会議は木曜日の午後三時に変更となり、場所は二階の会議室です。"),
        ("図書館では一人十冊まで同時に借りることができ、貸出期間は一か月です。", "図書館では一人十冊まで同時に借りられ、貸出期間は一か月です。"),
    ),
    "ko": (
        ("고궁박물원은 매주 월요일에 휴관하며 다른 날에는 오전 여덟 시 반에 문을 엽니다.", "고궁박물원은 매주 월요일에 휴관하고 다른 날에는 오전 여덟 시 반에 문을 엽니다."),
        ("빨간 버스가 길가에 서 있고 그 옆에 우산을 쓴 사람이 서 있다.", "빨간색 버스가 길가에 서 있고, 그 옆에 우산을 쓴 사람이 서 있다."),
        ("이 휴대폰의 배터리 용량은 오천 밀리암페어시이며 무선 충전을 지원합니다.", "이 휴대전화의 배터리 용량은 오천 밀리암페어시이며 무선 충전을 지원합니다."),
        ("물은 표준 대기압에서 백 도까지 가열하면 끓는다.", "표준 대기압에서 물은 백 도까지 가열하면 끓는다."),
        ("반품을 원하시면 상품을 받은 날부터 칠 일 이내에 고객센터로 연락해 주십시오.", "반품을 원하시면 상품을 받은 날부터 칠 일 이내에 고객센터에 연락해 주세요."),
        ("양쯔강은 중국에서 가장 긴 강으로 길이가 약 육천삼백 킬로미터이다.", "양쯔강은 중국에서 가장 긴 강이며 길이가 약 육천삼백 킬로미터이다."),
        ("아이 두 명이 모래사장에서 모래성을 쌓고 있고 멀리 돛단배가 보인다.", "아이 둘이 모래사장에서 모래성을 쌓고 있고 멀리 돛단배가 보인다."),
        ("약을 복용하는 동안에는 술을 마시지 말고 몸이 좋지 않으면 바로 병원에 가십시오.", "약을 복용하는 동안에는 술을 마시지 말고 몸이 안 좋으면 바로 병원에 가십시오."),
        ("회의는 목요일 오후 세 시로 바뀌었고 장소는 이층 회의실입니다.", "회의는 목요일 오후 세 시로 변경되었고 장소는 이층 회의실입니다."),
        ("도서관에서는 한 사람이 책을 열 권까지 빌릴 수 있고 대출 기간은 한 달입니다.", "도서관에서는 한 사람이 책을 열 권까지 빌릴 수 있으며 대출 기간은 한 달입니다."),
    ),
    "th": (
        ("พิพิธภัณฑ์พระราชวังปิดทุกวันจันทร์ ส่วนวันอื่นเปิดเวลาแปดโมงครึ่ง", "พิพิธภัณฑ์พระราชวังปิดทุกวันจันทร์ วันอื่นเปิดเวลาแปดโมงครึ่ง"),
        ("รถบัสสีแดงจอดอยู่ข้างถนน และมีคนถือร่มยืนอยู่ข้างรถ", "รถเมล์สีแดงจอดอยู่ข้างถนน และมีคนถือร่มยืนอยู่ข้างรถ"),
        ("โทรศัพท์รุ่นนี้มีแบตเตอรี่ห้าพันมิลลิแอมป์ และรองรับการชาร์จไร้สาย", "โทรศัพท์รุ่นนี้มีแบตเตอรี่ขนาดห้าพันมิลลิแอมป์ และรองรับการชาร์จไร้สาย"),
        ("น้ำจะเดือดเมื่อถูกทำให้ร้อนถึงหนึ่งร้อยองศาที่ความดันบรรยากาศปกติ", "ที่ความดันบรรยากาศปกติ น้ำจะเดือดเมื่อถูกทำให้ร้อนถึงหนึ่งร้อยองศา"),
        ("หากต้องการคืนสินค้า กรุณาติดต่อฝ่ายบริการลูกค้าภายในเจ็ดวันหลังได้รับสินค้า", "ถ้าต้องการคืนสินค้า กรุณาติดต่อฝ่ายบริการลูกค้าภายในเจ็ดวันหลังได้รับสินค้า"),
        ("แม่น้ำแยงซีเป็นแม่น้ำที่ยาวที่สุดในจีน มีความยาวราวหกพันสามร้อยกิโลเมตร", "แม่น้ำแยงซีเป็นแม่น้ำที่ยาวที่สุดในจีน มีความยาวประมาณหกพันสามร้อยกิโลเมตร"),
        ("เด็กสองคนกำลังก่อปราสาททรายบนชายหาด ไกลออกไปมีเรือใบลำหนึ่ง", "เด็กสองคนก่อปราสาททรายอยู่บนชายหาด ไกลออกไปมีเรือใบลำหนึ่ง"),
        ("ระหว่างใช้ยาห้ามดื่มเหล้า หากรู้สึกไม่สบายให้ไปพบแพทย์ทันที", "ระหว่างใช้ยาห้ามดื่มสุรา หากรู้สึกไม่สบายให้ไปพบแพทย์ทันที"),
        ("การประชุมเลื่อนไปเป็นวันพฤหัสบดีบ่ายสามโมงที่ห้องประชุมชั้นสอง", "การประชุมเลื่อนเป็นวันพฤหัสบดีบ่ายสามโมง ที่ห้องประชุมชั้นสอง"),
        ("ห้องสมุดให้ผู้อ่านยืมหนังสือได้คนละสิบเล่มเป็นเวลาหนึ่งเดือน", "ห้องสมุดให้ผู้อ่านยืมหนังสือได้คนละสิบเล่มนานหนึ่งเดือน"),
    ),
    "ar": (
        ("يغلق متحف القصر أبوابه كل يوم اثنين، ويفتح في الأيام الأخرى عند الثامنة والنصف صباحا.", "يغلق متحف القصر أبوابه كل يوم اثنين، ويفتح في باقي الأيام عند الثامنة والنصف صباحا."),
        ("تقف حافلة حمراء على جانب الطريق وبجانبها شخص يحمل مظلة.", "تقف حافلة حمراء على جانب الطريق، وبجانبها رجل يحمل مظلة."),
        ("سعة بطارية هذا الهاتف خمسة آلاف مللي أمبير وهو يدعم الشحن اللاسلكي.", "سعة بطارية هذا الهاتف خمسة آلاف مللي أمبير، وهو يدعم الشحن اللاسلكي."),
        ("يغلي الماء عند مئة درجة مئوية تحت الضغط الجوي العادي.", "تحت الضغط الجوي العادي يغلي الماء عند مئة درجة مئوية."),
        ("لإرجاع المنتج يرجى الاتصال بخدمة العملاء خلال سبعة أيام من استلامه.", "لإرجاع المنتج، يرجى الاتصال بخدمة العملاء خلال سبعة أيام من تاريخ استلامه."),
        ("نهر اليانغتسي هو أطول أنهار الصين ويبلغ طوله نحو ستة آلاف وثلاثمئة كيلومتر.", "نهر اليانغتسي هو أطول أنهار الصين، ويبلغ طوله حوالي ستة آلاف وثلاثمئة كيلومتر."),
        ("يبني طفلان قلعة من الرمل على الشاطئ وفي الأفق مركب شراعي.", "يبني طفلان قلعة من الرمل على الشاطئ، وفي الأفق قارب شراعي."),
        ("لا تشرب الكحول أثناء تناول الدواء، وإذا شعرت بتوعك فراجع الطبيب فورا.", "لا تشرب الكحول أثناء تناول الدواء، وإذا شعرت بالتعب فراجع الطبيب فورا."),
        ("تأجل الاجتماع إلى الساعة الثالثة من بعد ظهر الخميس في قاعة الطابق الثاني.", "تأجل الاجتماع إلى الساعة الثالثة بعد ظهر الخميس في قاعة الطابق الثاني."),
        ("تسمح المكتبة لكل قارئ باستعارة عشرة كتب في وقت واحد لمدة شهر.", "تسمح المكتبة لكل قارئ باستعارة عشرة كتب في الوقت نفسه لمدة شهر."),
    ),
    "de": (
        ("Das Palastmuseum ist montags geschlossen und öffnet an den anderen Tagen um halb neun.", "Das Palastmuseum ist montags geschlossen und öffnet an allen anderen Tagen um halb neun."),
        ("Ein roter Bus steht am Straßenrand, und daneben steht jemand mit einem Regenschirm.", "Ein roter Bus steht am Straßenrand und daneben jemand mit einem Regenschirm."),
        ("Der Akku dieses Telefons fasst fünftausend Milliamperestunden und lässt sich drahtlos laden.", "Der Akku dieses Handys fasst fünftausend Milliamperestunden und lässt sich drahtlos laden."),
        ("Wasser siedet bei normalem Luftdruck, wenn es auf hundert Grad erhitzt wird.", "Bei normalem Luftdruck siedet Wasser, wenn es auf hundert Grad erhitzt wird."),
        ("Wenn Sie die Ware zurückgeben möchten, melden Sie sich binnen sieben Tagen beim Kundendienst.", "Wenn Sie die Ware zurückgeben wollen, melden Sie sich binnen sieben Tagen beim Kundendienst."),
        ("Der Jangtse ist mit rund sechstausenddreihundert Kilometern der längste Fluss Chinas.", "Der Jangtse ist mit etwa sechstausenddreihundert Kilometern der längste Fluss Chinas."),
        ("Zwei Kinder bauen am Strand eine Sandburg, und in der Ferne sieht man ein Segelboot.", "Zwei Kinder bauen am Strand eine Sandburg; in der Ferne sieht man ein Segelboot."),
        ("Trinken Sie keinen Alkohol, solange Sie das Mittel nehmen, und gehen Sie bei Beschwerden sofort zum Arzt.", "Trinken Sie keinen Alkohol, während Sie das Mittel nehmen, und gehen Sie bei Beschwerden sofort zum Arzt."),
        ("Die Besprechung ist auf Donnerstag um fünfzehn Uhr verlegt und findet im zweiten Stock statt.", "Die Besprechung wurde auf Donnerstag um fünfzehn Uhr verlegt und findet im zweiten Stock statt."),
        ("In der Bücherei darf jeder zehn Bücher gleichzeitig ausleihen, und zwar für einen Monat.", "In der Bücherei darf jeder zehn Bücher gleichzeitig für einen Monat ausleihen."),
    ),
    "en": (
        ("The Palace Museum is closed on Mondays and opens at half past eight on other days.", "The Palace Museum is closed on Mondays and opens at half past eight on all other days."),
        ("A red bus is parked at the roadside, and a person with an umbrella stands next to it.", "A red bus is parked at the roadside; a person with an umbrella stands beside it."),
        ("The battery of this phone holds five thousand milliampere hours and charges wirelessly.", "This phone's battery holds five thousand milliampere hours and charges wirelessly."),
        ("Water boils at normal air pressure when it is heated to one hundred degrees.", "At normal air pressure water boils when it is heated to one hundred degrees."),
        ("To return an item, please contact customer service within seven days of delivery.", "To return an item, contact customer service within seven days of delivery."),
        ("The Yangtze is the longest river in China, at about six thousand three hundred kilometres.", "The Yangtze is China's longest river, at about six thousand three hundred kilometres."),
        ("Two children are building a sandcastle on the beach, with a sailing boat in the distance.", "Two kids are building a sandcastle on the beach, with a sailing boat in the distance."),
        ("Do not drink alcohol while taking the medicine, and see a doctor at once if you feel unwell.", "Do not drink alcohol while you take the medicine, and see a doctor at once if you feel unwell."),
        ("The meeting has been moved to Thursday at three in the second floor meeting room.", "The meeting was moved to Thursday at three in the second floor meeting room."),
        ("The library lets every reader borrow ten books at a time for one month.", "The library lets each reader borrow ten books at a time for a month."),
    ),
}  # fmt: skip


def near_and_wrong(language: str) -> tuple[list[str], list[str], list[str]]:
    """Return references, near-identical answers and wrong answers, N each."""
    references, near = (list(column) for column in zip(*ANSWERS[language], strict=True))
    return references, near, near[1:] + near[:1]
