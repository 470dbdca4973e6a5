"""The literature that methods are described with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """One publication.

    Attributes
    ----------
    key : str
        Its key in BibTeX.
    short : str
        As a text names it, without the year.
    authors : str
        As BibTeX wants them.
    year : int
    title, journal, volume, pages : str
        Pages may be the number of the article, or empty.
    link : str
        Its persistent address.
    """

    key: str
    short: str
    authors: str
    year: int
    title: str
    journal: str
    volume: str
    pages: str
    link: str

    @property
    def citation(self) -> str:
        """As it stands in the text."""
        return f"{self.short}, {self.year}"

    @property
    def entry(self) -> str:
        """As it stands in a list of references, without the link."""
        *others, last = self.authors.split(" and ")
        authors = f"{', '.join(others)} & {last}" if others else last
        source = f"{self.journal} {self.volume}{f', {self.pages}' if self.pages else ''}"
        return f"{authors.replace('& others', 'et al.')} ({self.year}). {self.title}. {source}"

    @property
    def bibtex(self) -> str:
        """As an entry of a .bib file."""
        values = {
            "author": self.authors,
            "title": f"{{{self.title}}}",
            "journal": self.journal,
            "year": self.year,
            "volume": self.volume,
            "pages": self.pages.replace("-", "--"),
            "url": self.link,
        }
        lines = [f"  {name} = {{{value}}}," for name, value in values.items() if value]
        return "\n".join((f"@article{{{self.key},", *lines, "}"))


_ALL = (
    Reference(
        key="choksi2022",
        short="Choksi et al.",
        authors="Choksi, B. and Mozafari, M. and VanRullen, R. and Reddy, L.",
        year=2022,
        title="Multimodal neural networks better explain multivoxel patterns in the hippocampus",
        journal="Neural Networks",
        volume="154",
        pages="538-542",
        link="https://doi.org/10.1016/j.neunet.2022.07.033",
    ),
    Reference(
        key="kriegeskorte2008",
        short="Kriegeskorte et al.",
        authors="Kriegeskorte, N. and Mur, M. and Bandettini, P.",
        year=2008,
        title=(
            "Representational similarity analysis: connecting the branches of systems neuroscience"
        ),
        journal="Frontiers in Systems Neuroscience",
        volume="2",
        pages="4",
        link="https://doi.org/10.3389/neuro.06.004.2008",
    ),
    Reference(
        key="kriegeskorte2009",
        short="Kriegeskorte et al.",
        authors="Kriegeskorte, N. and Simmons, W. K. and Bellgowan, P. S. F. and Baker, C. I.",
        year=2009,
        title="Circular analysis in systems neuroscience: the dangers of double dipping",
        journal="Nature Neuroscience",
        volume="12",
        pages="535-540",
        link="https://doi.org/10.1038/nn.2303",
    ),
    Reference(
        key="nili2014",
        short="Nili et al.",
        authors=(
            "Nili, H. and Wingfield, C. and Walther, A. and Su, L. and Marslen-Wilson, "
            "W. and Kriegeskorte, N."
        ),
        year=2014,
        title="A toolbox for representational similarity analysis",
        journal="PLoS Computational Biology",
        volume="10",
        pages="e1003553",
        link="https://doi.org/10.1371/journal.pcbi.1003553",
    ),
    Reference(
        key="walther2016",
        short="Walther et al.",
        authors=(
            "Walther, A. and Nili, H. and Ejaz, N. and Alink, A. and Kriegeskorte, N. "
            "and Diedrichsen, J."
        ),
        year=2016,
        title="Reliability of dissimilarity measures for multi-voxel pattern analysis",
        journal="NeuroImage",
        volume="137",
        pages="188-200",
        link="https://doi.org/10.1016/j.neuroimage.2015.12.012",
    ),
    Reference(
        key="diedrichsen2021",
        short="Diedrichsen et al.",
        authors=(
            "Diedrichsen, J. and Berlot, E. and Mur, M. and Schütt, H. H. and Shahbazi, "
            "M. and Kriegeskorte, N."
        ),
        year=2021,
        title=(
            "Comparing representational geometries using whitened "
            "unbiased-distance-matrix similarity"
        ),
        journal="Neurons, Behavior, Data analysis, and Theory",
        volume="5(3)",
        pages="",
        link="https://doi.org/10.51628/001c.27664",
    ),
    Reference(
        key="schuett2023",
        short="Schütt et al.",
        authors="Schütt, H. H. and Kipnis, A. D. and Diedrichsen, J. and Kriegeskorte, N.",
        year=2023,
        title="Statistical inference on representational geometries",
        journal="eLife",
        volume="12",
        pages="e82566",
        link="https://doi.org/10.7554/eLife.82566",
    ),
    Reference(
        key="allen2022",
        short="Allen et al.",
        authors="Allen, E. J. and St-Yves, G. and Wu, Y. and others",
        year=2022,
        title=(
            "A massive 7T fMRI dataset to bridge cognitive neuroscience and artificial intelligence"
        ),
        journal="Nature Neuroscience",
        volume="25",
        pages="116-126",
        link="https://doi.org/10.1038/s41593-021-00962-x",
    ),
    Reference(
        key="nichols2002",
        short="Nichols & Holmes",
        authors="Nichols, T. E. and Holmes, A. P.",
        year=2002,
        title="Nonparametric permutation tests for functional neuroimaging: a primer with examples",
        journal="Human Brain Mapping",
        volume="15",
        pages="1-25",
        link="https://doi.org/10.1002/hbm.1058",
    ),
    Reference(
        key="benjamini1995",
        short="Benjamini & Hochberg",
        authors="Benjamini, Y. and Hochberg, Y.",
        year=1995,
        title=(
            "Controlling the false discovery rate: a practical and powerful approach to "
            "multiple testing"
        ),
        journal="Journal of the Royal Statistical Society B",
        volume="57",
        pages="289-300",
        link="https://doi.org/10.1111/j.2517-6161.1995.tb02031.x",
    ),
    Reference(
        key="fieller1954",
        short="Fieller",
        authors="Fieller, E. C.",
        year=1954,
        title="Some problems in interval estimation",
        journal="Journal of the Royal Statistical Society B",
        volume="16",
        pages="175-185",
        link="https://doi.org/10.1111/j.2517-6161.1954.tb00159.x",
    ),
    Reference(
        key="wilcoxon1945",
        short="Wilcoxon",
        authors="Wilcoxon, F.",
        year=1945,
        title="Individual comparisons by ranking methods",
        journal="Biometrics Bulletin",
        volume="1",
        pages="80-83",
        link="https://doi.org/10.2307/3001968",
    ),
    Reference(
        key="welch1947",
        short="Welch",
        authors="Welch, B. L.",
        year=1947,
        title=(
            "The generalization of 'Student's' problem when several different population "
            "variances are involved"
        ),
        journal="Biometrika",
        volume="34",
        pages="28-35",
        link="https://doi.org/10.1093/biomet/34.1-2.28",
    ),
    Reference(
        key="steegen2016",
        short="Steegen et al.",
        authors="Steegen, S. and Tuerlinckx, F. and Gelman, A. and Vanpaemel, W.",
        year=2016,
        title="Increasing transparency through a multiverse analysis",
        journal="Perspectives on Psychological Science",
        volume="11",
        pages="702-712",
        link="https://doi.org/10.1177/1745691616658637",
    ),
    Reference(
        key="cornfield1956",
        short="Cornfield & Tukey",
        authors="Cornfield, J. and Tukey, J. W.",
        year=1956,
        title="Average values of mean squares in factorials",
        journal="Annals of Mathematical Statistics",
        volume="27",
        pages="907-949",
        link="https://doi.org/10.1214/aoms/1177728067",
    ),
)

REFERENCES = {reference.key: reference for reference in _ALL}
