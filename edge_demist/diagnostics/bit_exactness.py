"""Every kernel level that runs here, against the committed reference, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_demist.diagnostics import reference, tiny_model
from edge_demist.diagnostics.result import Check
from edge_demist.errors import EdgeDemistError
from edge_demist.format.bundle import Bundle
from edge_demist.native import library as native
from edge_demist.native.library import Kernels

Loader = Callable[[str], Kernels]


def check_levels(bundle: Bundle | None, levels: Sequence[str] | None = None, load: Loader = native.load) -> list[Check]:
    """One check a level: tokenizer, encoder, adapters and n-grams on the tiny bundle, and on ``bundle`` if it is the shipped one.

    Args:
        bundle: the bundle in use; None if it could not be opened.
        levels: CPU levels to check; None for all that run here.
        load: gives the compiled functions of a level.
    """
    try:
        known = reference.read()
    except EdgeDemistError as error:
        return [Check("reference vectors", "fail", f"{error}; reinstall edge-demist")]
    chosen = native.available_levels() if levels is None else list(levels)
    if not chosen:
        return [Check("bit check", "warn", "no compiled level runs here; nothing to check")]
    shipped = bundle is not None and bundle.id == known.bundle_id
    checks = [_check(level, known, bundle if shipped else None, load) for level in chosen]
    if bundle is not None and not shipped:
        checks.append(
            Check(
                "reference of the bundle",
                "note",
                "this bundle is not the shipped one, so it has no committed vectors; kernels were checked without it",
            )
        )
    return checks


def _check(level: str, known: reference.Reference, bundle: Bundle | None, load: Loader) -> Check:
    name = f"bits of {level}"
    texts = known.texts()
    try:
        kernels = load(level)
        wrong = reference.differences(known.part("tiny"), reference.compute(tiny_model.bundle(), kernels, texts, with_adapters=True))
        count = len(texts)
        if bundle is not None:
            expected = known.part("bundle")
            part = [texts[int(i)] for i in expected.pop("texts")]
            wrong += [
                f"bundle {line}" for line in reference.differences(expected, reference.compute(bundle, kernels, part, with_adapters=False))
            ]
            count += len(part)
    except EdgeDemistError as error:
        return Check(name, "fail", str(error))
    if wrong:
        advice = "do not use this level (EDGE_DEMIST_KERNEL chooses another); check the library's hash and the machine's memory"
        return Check(name, "fail", f"{'; '.join(wrong)}. {advice}", {"differences": wrong})
    what = "ids, vectors, adapters and n-grams" + (", shipped bundle too" if bundle is not None else "")
    return Check(name, "ok", f"{count} strings agree in every bit ({what})", {"strings": count})
