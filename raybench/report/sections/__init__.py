"""The page's sections in their order; one module per group of questions."""

from __future__ import annotations

from dataclasses import replace

from raybench.report.blocks import Section, with_pickers
from raybench.report.sections.costs import cost_section
from raybench.report.sections.learning import learning_section, size_section
from raybench.report.sections.literature import literature_section
from raybench.report.sections.matrix import results_section
from raybench.report.sections.overall import overall_section
from raybench.report.sections.pairs import failures_section, pairs_section
from raybench.report.sections.provenance import provenance_section
from raybench.report.sections.quality import quality_section
from raybench.report.sections.ranking import ranking_section
from raybench.report.sections.tuning import tuning_section
from raybench.report.view import View


def sections(view: View) -> list[Section]:
    """Every section; those with nothing to show say so in one line.

    Left out are: across tasks where there is one task, data size where no data set has subsets, and
    the literature where nobody asked for it.
    """
    found = (
        results_section(view),
        ranking_section(view),
        overall_section(view),
        tuning_section(view),
        cost_section(view),
        learning_section(view),
        size_section(view),
        quality_section(view),
        literature_section(view),
        pairs_section(view),
        failures_section(view),
        provenance_section(view),
    )
    return [replace(s, blocks=with_pickers(s.blocks)) for s in found if s is not None]
