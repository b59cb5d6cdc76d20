from witgate import Guardrail, block


class Plugin(Guardrail):
    def check(self, call, body):
        word = self.settings["word"].lower()
        if any(word in text.text.lower() for text in body.texts()):
            return block("This text is not allowed.", findings={"word": 1})
