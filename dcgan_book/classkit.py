"""The class kit: checks that refuse wrong answers, student copies, and the book of solutions."""


def refuses(check, *wrong):
    """Tries wrong answers on an exercise's check; AssertionError for one that it accepts.

    check: a function of an answer that raises where the answer is wrong. Every check of the book is tried so, next to
    the right answer that its chapter gives.
    """
    for i, answer in enumerate(wrong):
        try:
            check(answer)
        except Exception as refusal:
            assert isinstance(refusal, AssertionError) and str(refusal), f"wrong answer {i}: {refusal!r} helps nobody"
        else:
            raise AssertionError(f"{check.__name__} accepts wrong answer {i}")
