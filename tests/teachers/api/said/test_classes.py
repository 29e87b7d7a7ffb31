"""Which one class an answer names: the forms in which models answer, and what looks like a naming and is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.teachers.api.labels import labels_of, named_class

PETS = labels_of(["cat", "dog", "owl"])

DOG = [
    # the mark, alone or wrapped
    "B", "b", " (B). ", "B.", "b.", "B)", "b)", "(b)", "[B]", "<B>", "((B))", "B:", "B;", "B!!", "B…", "B -", "#B",
    "**B**", "***B***", "*B*", "_B_", "__B__", "`B`", "``B``", "- B", "* B", "> B", "# B", "1. B", "B\nB", "B. B. B.",
    "Ｂ", "Ｂ．", "（Ｂ）", "𝐁", "Ⓑ", "\u200bB\u200b", "B\ufeff", "B\u00a0", "<b>B</b>", "<p>B</p>", "B<br>", "~~A~~ B",
    # quotes of several languages
    "'B'", '"B"', "“B”", "„B“", "‚B‘", "‘B’", "«B»", "« B »", "»B«", "‹B›", "「B」", "『B』", "《B》", "【B】", "”B”",
    # LaTeX
    r"\boxed{B}", r"$\boxed{B}$", r"$\boxed{\text{B}}$", r"$$\boxed{\mathrm{B}}$$", r"\boxed{\text{(B)}}", "boxed{B}",
    r"\boxed B", r"\fbox{B}", "\x08oxed{B}", r"\boxed{dog}", r"\boxed{B. dog}", r"\[ \boxed{B} \]", r"\text{B}", "$B$",
    r"\(B\)", r"\mathbf{B}", r"The final answer is $\boxed{B}$.", "<answer>B</answer>", "<answer>\nB. dog\n</answer>",
    # tokens of templates, and thinking
    "B</s>", "B<|im_end|>", "B<|eot_id|>", "B<|endoftext|>", "B<end_of_turn>", "B<｜end▁of▁sentence｜>", "</s>B</s>",
    "<|channel|>final<|message|>B", "<think>\n</think>\nB", "<think>A cat? The answer is A.</think>B",
    "It purrs like a cat.\n</think>\n\nB", "analysisIt may be a cat.assistantfinalB",
    "<|channel|>analysis<|message|>A cat?<|end|><|start|>assistant<|channel|>final<|message|>B<|return|>",
    # JSON, fences, tags
    "```\nB\n```", '```json\n{"answer": "B"}\n```', '{"answer": "B"}', '{"label": "dog"}', "{'answer': 'B'}", '["B"]',
    '{"class": "B", "confidence": 0.9}', '{"reasoning": "It is no cat (A).", "answer": "B"}', '{"animal": "dog"}',
    '{"answer": ["B"]}', '{"A": false, "B": true, "C": false}', '{"answer": "B", "expl', "<label>dog</label>",
    'Here is the JSON: {"answer": "B"} Hope it helps.', '```\n{"label": "dog"}\n```\nThe label is dog.',
    # announced
    "Answer: B", "ANSWER: B", "answer: b", "Answer: **B**", "**Answer:** B", "**Answer: B**", "Answer: $B$",
    "Answer - B", "Answer = B", "Answer -> B", "Answer:\nB", "### Answer\nB", "Answer:\n\n**B. dog**", "Answer:dog",
    'Answer: "dog"',
    "Final answer: B", "The answer is (B).", "The correct answer is B.", "The answer is: B", "The answer is B) dog",
    "The best answer for this text is B.", "My answer: B", "The answer would be B.", "the answer is option b",
    "The correct option is B", "Option B", "option b", "Option (B)", "Option: B", "Choice: B", "Choice B fits best.",
    "Category: B", "Class: B", "class B", "Class: dog", "Label: dog", "The label is B", "The letter is B.",
    "The class that fits best is B.", "Prediction: dog", "The predicted class is dog.", "Verdict: dog", "Response: B",
    "Answer: B\nConfidence: 0.9", "Label: B\nReason: The cat is absent.", "It barks.\nAnswer: B\n", "Answer: (b) dog",
    "I considered cat and owl.\nFinal answer: dog", "The answer is dog, unlike the cat.", "The answer is not A but B.",
    "Which fits best?\nA. cat\nB. dog\nC. owl\nAnswer: B", "A. cat\nB. dog\nC. owl\n\nB", "Sure! The answer is B.",
    "Option A is wrong; option B is right.", "A is incorrect. B is correct.", "A is out, so B",
    "Answer:\tB", "The answer is:\n\nB", "**Class:** dog", "Class → dog", "Label=dog;", "Correct: B", "Ans: B", "=> B",
    "Final Answer: The final answer is B. I hope it is correct.", "**Final Answer**\n\\boxed{B}", "Option B - dog",
    '{"result": {"label": "dog"}}', '{"answer": {"letter": "B"}}', '{"predicted_label": "dog"}',
    '{ "answer" : "B. dog" }',
    '```python\nanswer = "B"\n```', "### Response:\n\ndog", "Animal: dog", "• dog", "· B", "~~~\nB\n~~~",
    "B\r\nIt barks",
    "Choose B", "Pick: B", "My choice is B", "It should be B.", "In conclusion, the answer is B.", "So, B",
    "B seems right.",
    "not A, not C, so B", "Not cat, not owl: dog", "It is neither cat nor owl. It is a dog.", "dog | 0.9", "dog - 93%",
    # other languages
    "Antwort: B", "Die Antwort ist B.", "Antwort:\n\nAntwort: B", "Réponse : B", "La réponse est B.", "Respuesta: B",
    "La respuesta correcta es B", "Risposta: B", "Resposta: B", "Ответ: B", "答案：B", "答案是B。", "答え：B",
    "答えはBです", "정답: B", "选项B", "我选B", "应该是B。", "B ist richtig",
    # the mark at the beginning or on a last line of its own
    "B - dog", "B. dog", "B) dog", "B: dog", "(B) dog", "B dog", "**B. dog**", "B/dog", "B（dog）", "dog (B)",
    "Dog - B", "B, because it barks.", "B because it barks", "B — it barks",
    "B\n\nExplanation: unlike a cat, it barks.", "B\n\nA is wrong since it barks.", "B is correct.",
    "B is the best fit", "It barks, hence it is no cat.\n\n**B**",
    "B\n\nQuestion: What is it?\nAnswer: A", "B<|im_end|>\n<|im_start|>user\nA",
    # chosen
    "I would choose B", "I'd go with B.", "I'd say B.", "I choose (B)", "It belongs to class B.", "Definitely B",
    "I would classify this as dog.", "I believe B fits best", "I think it is B", "Hence B", "It must be B", "B it is",
    # the name
    "Dog", "DOG", "dog.", "dog!", "'dog'", "ｄｏｇ", "d\u00adog", "The dog.", "a dog", "Most likely dog",
    "dog, not cat", "dog (not cat)", "Dog, because cats do not bark.", "dog: it barks at the cat",
    "dog.\n\nThe cat is not visible.",
    "This is a dog.", "It looks like a dog to me", "A dog is in the picture", "It might be a dog", "This Is A Dog",
    "I think it is a dog, not a cat.", "Not a cat, but a dog.", "It's not a cat; it's a dog.", "no, dog",
    "A dog rather than a cat", "It is a dog instead of an owl", "Neither cat nor owl, so dog", "Cat? No, dog.",
    "No doubt a dog.", "Without a doubt, dog.", "It can't be anything but a dog.", "It is none other than a dog.",
    "I'm not sure, but dog", "It is not clear, but I would say dog.", "Not only barks it, it is a dog.",
    "Is it a cat? No. It is a dog.", "This one is tricky: cat or dog? I go with dog.", "It is dog-like; dog",
    "The animal described is most likely a dog because it barks.", "It's 100% a dog",
]  # fmt: skip

NONE = [
    "", "   ", "a", "I", "D", "X", "42", "1", "BB", "AB", "B+", "unknown", "null", "[]", "{}", "None of these",
    "I cannot tell.", "The answer is unclear.", "category", "dogma", "hotdog", "catfish", "Answer: none",
    # denied
    "Not a dog.", "not dog", "no dog", "Not B", "isn't B", "It isn’t B.", "It is not B", "The answer is not B.",
    "It is definitely not a dog", "Answer: not B", "There is no dog.", "without dog", "unlike a dog", "It is a non-dog",
    "It does not look like a dog", "It doesn't seem to be a dog", "It can't be a dog", "It cannot be a dog.",
    "It never is a dog", "This is not what I expected from a dog", "Anything but a dog.", "It is far from a dog",
    "I would rule out dog.", "Ruled out: dog", "excluding dog", "All options except B", "dog is wrong", "B is wrong.",
    "B is incorrect", "B is not correct", "B is not the answer", "B does not fit", "Neither a cat nor a dog.",
    "It is neither a cat, a dog nor an owl.", "The answer is neither A nor B.", "Kein dog", "Das ist kein dog.",
    "Es ist nicht B", "Ce n'est pas un dog", "No es un dog", "No es B", "这不是dog", "I don't think it's a dog.",
    "I don't think the answer is B", "There is no evidence that it is a dog", "I doubt that it is a dog.",
    "It is unlikely to be a dog", "It isn't the case that the answer is B.", "I would not say it is a dog",
    # asked, doubted
    "dog?", "Is it a dog?", "Could this be a dog?", "I am not sure whether it is a dog.", "I don't know if it is a dog",
    "I can't tell if this is a dog.", "It is hard to say if it is a dog",
    "It is impossible to determine whether it is a dog.",
    # several
    "A or B?", "cat or dog?", "I'm torn between cat and dog.", "cat (50%), dog (50%)", "(A) cat (B) dog (C) owl",
    "A: B",
    "A) cat, B) dog", "A-C", "B, C", "B & C", "A, B or C", "Please choose: cat / dog / owl", "N/A", "Both.",
    "cat or dog", "a cat or a dog", "cat/dog", "cat, dog", "cat and dog", "dog cat", "Either cat or dog.", "dog\ncat",
    "A or B", "A/B", "A, B", "A and B", "Both A and B", "B. cat", "B) cat", "B: cat", "A. cat\nB. dog\nC. owl",
    "Answer: A\nAnswer: B", '{"answer": "A"} {"answer": "B"}', r"\boxed{A} or \boxed{B}", "cat, but maybe dog",
    "cat: 0.2\ndog: 0.8", "A: 20%\nB: 80%", '{"A": 0.1, "B": 0.9}', '{"answer": null}', '{"answer": ""}',
    # thought, not said
    "<think>It is a dog</think>", "<think>\nThe answer is B. But", "<reasoning>It is a dog</reasoning>",
    "<|channel|>analysis<|message|>It is a dog",
]  # fmt: skip

CAT = [
    "A", "A.", "(A)", "a)", "a.", '"A"', "A cat", "A - cat", "A because it purrs", "A, because it purrs",
    "A is correct", "Answer: a", "answer: A", "Answer: A cat", "The answer is A.", "Option A", "option a",
    "A\n\nA dog would bark.",
    '{"answer": "a"}', r"\boxed{a}", "I think it is A.", "It's A", "cat",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pair
        for number, texts in ((1, DOG), (None, NONE), (0, CAT))
        for pair in zip(texts, [number] * len(texts))
    ],
)
def test_forms_of_answers(text, number):
    assert named_class(text, PETS) == number


OTHERS = {
    ("cat", "catfish", "house cat", "cat food"): {
        "catfish": 1, "It is a catfish.": 1, "a house cat": 2, "House-Cat": 2, "housecat": 2, "house_cat": 2,
        "cat food": 3, "cat": 0, "It is a cat, not a catfish": 0, "cat or catfish": None, "A catfish is not a cat": 1,
        "not a catfish but a cat": 0, "The house cat eats cat food": None,
    },
    ("spam", "not spam"): {
        "not spam": 1, "spam": 0, "It is not spam.": 1, "not_spam": 1, "B. not spam": 1, "B. spam": None,
        "This is not a spam": None,
    },
    ("yes", "no"): {
        "I have no idea.": None, "No idea, sorry": None, "No comment.": None, "There is no way to tell.": None,
        "Yes": 0, "No": 1, "No, it is not.": 1, "Yes, no doubt about it.": 0, "yes or no": None, "The answer is no.": 1,
    },
    ("toxic", "non-toxic"): {
        "non-toxic": 1, "nontoxic": 1, "Non toxic": 1, "This comment is non-toxic.": 1, "toxic": 0, "not toxic": None,
    },
    ("1", "2", "3", "4", "5"): {
        "4": 3, "4/5": 3, "I'd rate it 4 out of 5.": 3, "4.0": 3, "Rating: 4": 3, '{"answer": 4}': 3, "3 stars": 2,
        "4.5": None, "14": None, "4 or 5": None, "-4": None, "A": 0,
    },
    ("0", "1", "10"): {"10": 2, "1": 1, "1.": 1, "The label is 10.": 2},
    ("C", "C++", "C#", "Python", ".NET"): {
        "C++": 1, "C": 0, "c#": 2, "The language is C++.": 1, "It is C.": 0, "It's .NET code": 4, "3": 2,
        "Answer: C#": 2,
    },
    ("café", "Straße", "猫", "犬", "😀", "😢"): {
        "café": 0, "cafe\u0301": 0, "CAFÉ": 0, "STRASSE": 1, "猫": 2, "これは猫です。": 2, "猫ではない": None,
        "这是一只猫。": 2, "不是猫": None, "不是猫，而是犬": 3, "😀": 4, "I feel 😢": 5, "答案：猫": 2, "「犬」": 3,
        "猫か犬": None,
    },
    ("고양이", "개"): {"고양이입니다.": 0, "정답: 개": 1, "고양이가 아니다": None},
    tuple(f"class {i}" for i in range(30)): {
        "12": 11, "1": 0, "Option 12": 11, "class 3": 3, "Class-13": 13, "12. class 11": 11, "12. class 12": None,
        "Answer: 30": 29, "31": None, "1 or 2": None, "#12": 11,
    },
    ("A", "1"): {"#1": 0, "#2": 1, "A": 0, "1": 1},
    ("B", "A"): {"A": 1, "b": 0, "1": 0, "The answer is A.": 1},
    tuple(f"word{c}" for c in "abcdefghij"): {
        "I": 8, "I.": 8, "I cannot tell.": None, "I think it is B": 1, "The answer is B, I think": 1, "I) wordi": 8,
    },
    ("positive", "negative", "neutral"): {
        "The text is not negative; it's positive.": 0, "neither positive nor negative, so neutral": 2,
        "Neutral - neither positive nor negative": 2, "positive/negative": None, "mostly positive": 0,
        "**Positive**\n\nThe reviewer is happy.": 0, "I'd label this as neutral.": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("names", "text", "number"),
    [(names, text, number) for names, forms in OTHERS.items() for text, number in forms.items()],
)
def test_names_of_many_kinds(names, text, number):
    """One name inside another, denials as names, numbers, punctuation, scripts, marks that are names."""
    assert named_class(text, labels_of(names)) == number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ('["dog"]', 1),
        ('["cat", "dog"]', None),
        ('["B", "C"]', None),
        ('["dog", "dog"]', 1),
        ('[ "dog"', 1),
        ("[]", None),
    ],
)
def test_a_list_in_a_field_is_an_answer_only_if_it_holds_one_class(value, number):
    assert named_class(f'{{"answer": {value}, "why": "it barks"}}', PETS) == number


@pytest.mark.parametrize(
    ("names", "text", "number"),
    [
        (PETS.class_names, "B", 1),
        (PETS.class_names, "B. dog because it", 1),
        (PETS.class_names, "The answer is B because", 1),
        (PETS.class_names, "dog", 1),
        (PETS.class_names, "Okay, so the user wants to know whether this is a cat", None),
        (PETS.class_names, "Let me think about the dog", None),
        (("cat", "catfish"), "cat", None),  # fish may have come next
        (("cat", "catfish"), "The answer is a cat", None),
        (tuple(f"class {i}" for i in range(30)), "Answer: 3", None),
        (tuple(f"class {i}" for i in range(30)), "Answer: 3.", 2),
    ],
)
def test_an_answer_that_was_cut_names_only_what_it_had_come_to(names, text, number):
    assert named_class(text, labels_of(names), is_cut=True) == number


@given(st.text(st.sampled_from("AB b.()\n{}[]\"'*`\\$<>/|:,?-_~#not dgcaswerih"), max_size=60))
def test_any_text_names_a_class_or_none(text):
    assert named_class(text, PETS) in (None, 0, 1, 2)


@pytest.mark.parametrize(
    "piece", ["dog ", "answer ", "(A) ", "\\boxed{", "<think>", '"answer": ', "not ", "A or "]
)
def test_a_very_long_answer_is_read_at_its_ends(piece):
    assert named_class(piece * 20_000 + "\nFinal answer: B", PETS) in (None, 1)
