"""`thalweg play`: one offline page on which optimizers walk down surfaces.

Its arithmetic is JavaScript generated from the rules' and surfaces' own formulas (`generated`);
`assets/core` runs it, and `assets/page` draws what `window.thalweg` answers.
"""

from .page import Page, play

__all__ = ["Page", "play"]
