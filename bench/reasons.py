"""Why a row is behind its goal, or missing, said in one line each."""

REASONS: dict[str, str] = {
    "shared/dict-get": "SharedDict is not built yet",
    "shared/dict-set": "SharedDict is not built yet",
    "pool/interpreters-submit": "InterpreterPoolExecutor is the standard library's so far",
}
