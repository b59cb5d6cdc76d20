"""Objects that are read like LiteLLM's: by attribute and by key, with None for what is not there."""


class Record(dict):
    """A JSON object with attributes. `Record.of(value)` converts deeply."""

    @classmethod
    def of(cls, value):
        if isinstance(value, dict):
            return cls({key: cls.of(one) for key, one in value.items()})
        if isinstance(value, list):
            return [cls.of(one) for one in value]
        return value

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name)

    def __setattr__(self, name, value):
        self[name] = value

    def __delattr__(self, name):
        self.pop(name, None)

    def __deepcopy__(self, memo):
        import copy

        return type(self)({key: copy.deepcopy(value, memo) for key, value in self.items()})

    def model_dump(self, exclude_none=False, **_):
        """As plain values."""
        return plain(self, exclude_none)

    def dict(self, **options):
        """As plain values, as older pydantic calls it."""
        return self.model_dump(**options)

    def json(self, **_):
        """As LiteLLM's responses have it: plain values."""
        return plain(self)

    def model_dump_json(self, **_):
        """As JSON."""
        import json

        return json.dumps(plain(self))


def plain(value, exclude_none=False):
    """The value with ordinary dicts."""
    if isinstance(value, dict):
        return {
            key: plain(one, exclude_none) for key, one in value.items() if not (exclude_none and one is None)
        }
    if isinstance(value, (list, tuple)):
        return [plain(one, exclude_none) for one in value]
    return value


def changes(old, new, pointer=""):
    """The edits that turn one JSON value into another: (pointer, value) pairs, and pointers to remove."""
    if old == new and type(old) is type(new):
        return [], []
    sets, removes = [], []
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in new.items():
            place = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
            if key not in old:
                sets.append((place, value))
            else:
                more, gone = changes(old[key], value, place)
                sets += more
                removes += gone
        removes += [
            f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}" for key in old if key not in new
        ]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new)):
            more, gone = changes(one, other, f"{pointer}/{index}")
            sets += more
            removes += gone
    else:
        sets.append((pointer, new))
    return sets, removes
