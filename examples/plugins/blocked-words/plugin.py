"""A guardrail in Python: refuses calls with blocked words, masks others, in requests, answers and streams."""

import re

from witgate import Guardrail, SettingsError, StreamGuard, block, edit, log


class BlockedWords(Guardrail):
    def __init__(self, settings):
        for name in ("blocked", "masked"):
            if not all(isinstance(word, str) and word.strip() for word in settings[name]):
                raise SettingsError(f"`{name}` must be a list of words")
        self.blocked = pattern(settings["blocked"])
        self.masked = pattern(settings["masked"])
        self.longest = max((len(word) for word in settings["blocked"] + settings["masked"]), default=0)

    def check(self, call, body):
        edits, masked = [], 0
        for text in body.texts():
            if self.blocked.search(text.text):
                log.info("blocked", phase=call.phase, role=text.role)
                return refusal()
            changed, count = self.mask(text.text)
            if count:
                edits.append(text.replace_by(changed))
                masked += count
        return edit(edits, {"masked_word": masked}) if edits else None

    def open_stream(self, call):
        return Stream(self)

    def mask(self, text):
        return self.masked.subn(lambda found: "*" * len(found[0]), text)


class Stream(StreamGuard):
    """Holds back what may be the beginning of a word: text arrives in pieces that end anywhere."""

    def __init__(self, words):
        self.words = words
        self.held = {}
        self.masked = 0

    def push(self, channel, text):
        text = self.held.pop(channel, "") + text
        # A word is whole when something that belongs to no word follows it.
        end = len(text) - len(re.search(r"\w*\Z", text)[0])
        if len(text) - end > self.words.longest:
            end = len(text)  # longer than any of ours: whatever follows, it is none of them
        self.held[channel] = text[end:]
        return self.judge(text[:end])

    def finish(self, channel):
        return self.judge(self.held.pop(channel, ""))

    def findings(self):
        return {"masked_word": self.masked} if self.masked else {}

    def judge(self, text):
        if self.words.blocked.search(text):
            return refusal()
        text, count = self.words.mask(text)
        self.masked += count
        return text


def refusal():
    return block("The text contains a word that is not allowed here.", findings={"blocked_word": 1})


def pattern(words):
    """Matches any of the words as a whole; of none, nothing."""
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b" if words else r"(?!)", re.IGNORECASE)
