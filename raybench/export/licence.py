"""Under which licence the weights came that a model was trained from, as far as it is stated."""

from __future__ import annotations

from dataclasses import dataclass

from raybench.backbones.describe import NOT_STATED, describe_spec
from raybench.backbones.index import HUB_PREFIX, is_url, is_weights_file, split_name
from raybench.spec import BackboneSpec

# Of the Hugging Face Hub's own list (hub-docs, "Licenses"); any other is "other" with a name.
_ON_HUB = frozenset({"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "gemma"})


@dataclass(frozen=True, slots=True)
class Origin:
    """What a model was trained from.

    Attributes:
        licence: as the weights' card states it, or ``not stated``.
        source: repository on the hub, or address; empty where there is none to name.
        words: one sentence for the card.
    """

    licence: str
    source: str
    words: str

    @property
    def repository(self) -> str:
        """On the Hugging Face Hub, else empty."""
        return self.source if self.source.count("/") == 1 else ""

    def front_matter(self) -> dict[str, str]:
        """The keys of a model card on the hub."""
        if self.licence in _ON_HUB:
            return {"license": self.licence}
        if "://" in self.licence:
            return {"license": "other", "license_name": "see-link", "license_link": self.licence}
        return {"license": "other", "license_name": self.licence.replace(" ", "-")}


def origin_of(spec: BackboneSpec) -> Origin:
    """Where the weights of ``spec`` come from; what is not known is said to be not stated."""
    library, model, _ = split_name(spec.name)
    if spec.weights == "none":
        return Origin(
            NOT_STATED, "", "Trained from random weights: no other work's weights are in it, and "
            "whoever has trained it decides on its licence."
        )  # fmt: skip
    if is_url(spec.weights) or is_weights_file(spec.weights):
        return _unstated("Trained from a weights file that was given by hand")
    if library == "python":
        return _unstated("Trained from what a Python function of the user's returned")
    if model.startswith(HUB_PREFIX):
        repository = model.removeprefix(HUB_PREFIX).partition("@")[0]
        return _unstated(f"Trained from the weights of {repository}", repository)
    (found,) = describe_spec(spec).weights
    began = f"Trained from published weights ({found.source}; pretrained on {found.pretraining})"
    if found.licence == NOT_STATED:
        return _unstated(began, found.source)
    return Origin(found.licence, found.source, f"{began}, whose licence is {found.licence}.")


def _unstated(began: str, source: str = "") -> Origin:
    words = f"{began}, whose licence is not stated here: ask its authors before you pass this on."
    return Origin(NOT_STATED, source, words)
