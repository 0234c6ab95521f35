"""The sections of the page, one function each from a `Study` to blocks.

A section without anything to show says in one sentence what is missing, or is left out where it has no meaning.
"""

from __future__ import annotations

from sciml.reporting.blocks import Page, Section
from sciml.reporting.sections.accuracy import comparison, growth, parameters
from sciml.reporting.sections.bars import bars
from sciml.reporting.sections.flow import audits, laws, profiles, spectra
from sciml.reporting.sections.particles import histories
from sciml.reporting.sections.pictures import fields, film
from sciml.reporting.sections.setting import cost, reproduce, training
from sciml.reporting.sections.turbulence import statistics
from sciml.reporting.study import Study
from sciml.reporting.verdict import highlights, verdict


def build(study: Study) -> Page:
    """Return the whole page for a study."""
    sentence, tone = verdict(study)
    against = "equations" if study.equations else "laws of matter" if laws(study) else "training data"
    sections = [
        Section("setting", "What was trained on what", training(study)),
        Section("comparison", "Against what needs no training", comparison(study)),
        Section("growth", "Error growth over rollouts", growth(study)),
        Section("fields", "Fields", fields(study)),
        Section("bars", "Error bars", bars(study)),
        Section("animation", "Animation", film(study)),
        Section("profiles", "Profiles", profiles(study)),
        Section("particles", "Matter as a whole", histories(study)),
        Section("statistics", "Statistics of the flow", statistics(study)),
        Section("parameters", "Error over parameter space", parameters(study)),
        Section("spectra", "Energy spectra", spectra(study)),
        Section("cost", "Speed against accuracy", cost(study)),
        Section("audit", f"Audit: what the {against} say", audits(study)),
        Section("reproduce", "Versions, settings, and how to make this again", reproduce(study)),
    ]
    sections = [s for s in sections if s.blocks]
    return Page(study.title, sentence, tone, highlights(study), sections, _footer(study))


def _footer(study: Study) -> str:
    version = dict(study.versions).get("sciml", "")
    return f"Made by sciml {version}. Everything on this page is inside this one file; it loads nothing.".replace(
        "  ", " "
    )
