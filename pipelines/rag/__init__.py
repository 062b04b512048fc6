"""Answers from the published index: retrieve, rerank, prompt, generate, cite; feedback; evaluation."""
