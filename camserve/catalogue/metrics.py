"""The registry of metrics of explanations, grouped by what they test. Each metric is one paper and one function.

To add a metric, write its function in a module of metrics/, and its entry in METRICS; `Metric` in metric.py says what
each field means. A definition is frozen: a changed definition needs a new name. The registry loads no numpy.
"""

from collections.abc import Iterable

from camserve.catalogue.metric import Asks, Group, Metric
from camserve.errors import UnknownName, close_names

# In a list of metrics, it stands for all metrics.
EVERY = "all"

_FAITHFULNESS = (
    Metric(
        "insertion", "Insertion", "how soon the class is recognised when the hottest pixels appear first",
        "Petsiuk et al., BMVC 2018, arXiv:1806.07421", Group.FAITHFULNESS, "faithfulness.insertion",
        asks=Asks.SUBJECT, more_is_better=True, range=(0, 1), unit="mean probability", forwards=225,
        definition="starts with the blurred input (RISE's kernel of 11 pixels, sigma 5) and restores the pixels of the "
        "input in 224 steps of equally many pixels, hottest first, equal heat in a seeded order; area under the "
        "probability (trapezoids)",
        tells="whether the hottest pixels are enough for the class",
        does_not_tell="how it compares with numbers of another definition: it depends on the blur and on the steps",
    ),
    Metric(
        "deletion", "Deletion", "how soon the class is lost when the hottest pixels are removed first",
        "Petsiuk et al., BMVC 2018, arXiv:1806.07421", Group.FAITHFULNESS, "faithfulness.deletion",
        asks=Asks.SUBJECT, more_is_better=False, range=(0, 1), unit="mean probability", forwards=225,
        definition="starts with the input and sets its pixels to zero (the mean colour) in 224 steps of equally many "
        "pixels, hottest first, equal heat in a seeded order; area under the probability (trapezoids)",
        tells="whether the class needs the hottest pixels",
        does_not_tell="whether evidence is missing or the image is damaged: an input with grey holes is unlike any "
        "photograph, and any hole may lower the score",
    ),
    Metric(
        "average_drop", "Average drop", "how much of the probability is lost when only the hot part is shown",
        "Chattopadhyay et al., WACV 2018, arXiv:1710.11063", Group.FAITHFULNESS, "faithfulness.average_drop",
        asks=Asks.SUBJECT, more_is_better=False, range=(0, 1),
        unit="share of the probability; times 100 it is the papers' percentage", forwards=2,
        definition="max(0, Y - O) / Y; Y is the probability for the input, O the probability for the input times the "
        "map; of the map the positive part, divided by its maximum; 0 is the mean colour",
        tells="whether what the map shows is enough for the class",
        does_not_tell="whether the map is selective: a map that is hot everywhere has no drop",
    ),
    Metric(
        "increase", "Increase in confidence",
        "whether the class is more probable when only the hot part is shown",
        "Chattopadhyay et al., WACV 2018, arXiv:1710.11063", Group.FAITHFULNESS, "faithfulness.increase",
        asks=Asks.SUBJECT, more_is_better=True, range=(0, 1),
        unit="share of images; times 100 it is the papers' percentage", forwards=2,
        definition="1 where Y < O, else 0; Y and O as in average_drop",
        tells="how often the rest of the image lowered the probability",
        does_not_tell="by how much; it says nothing where the probability is near 1 from the start",
    ),
    Metric(
        "gain", "Average gain", "how much more probable the class becomes when only the hot part is shown",
        "Zhang et al., CVIU 2024, arXiv:2301.07002", Group.FAITHFULNESS, "faithfulness.gain",
        asks=Asks.SUBJECT, more_is_better=True, range=(0, 1),
        unit="share of the distance to 1; times 100 it is the papers' percentage", forwards=2,
        definition="max(0, O - Y) / (1 - Y), 0 where Y is 1; Y and O as in average_drop",
        tells="the same as increase, and by how much",
        does_not_tell="whether the map is selective: a map that is hot everywhere has no gain and no drop",
    ),
    Metric(
        "adcc", "ADCC", "average drop, coherency and complexity in one number",
        "Poppi et al., CVPR workshops 2021, arXiv:2104.10252", Group.FAITHFULNESS, "faithfulness.adcc",
        asks=Asks.SUBJECT, more_is_better=True, range=(0, 1),
        unit="harmonic mean of shares; times 100 it is the paper's percentage", forwards=2, maps=1,
        definition="3 / (1 / Coh + 1 / (1 - Com) + 1 / (1 - AD)); AD is average_drop; Com is the mean of the map "
        "divided by its maximum; Coh is (r + 1) / 2, r Pearson's correlation between the map and the map of the input "
        "times the map; 0 where a part is 0",
        tells="whether the map is enough for the class, is small, and stays the same when only its hot part is shown; "
        "a map that is hot everywhere has 0",
        does_not_tell="which of the three parts makes the number low",
    ),
    Metric(
        "road", "ROAD", "how much more the probability falls without hot pixels than without cold pixels",
        "Rong et al., ICML 2022, arXiv:2202.00449", Group.FAITHFULNESS, "faithfulness.road",
        asks=Asks.SUBJECT, more_is_better=True, range=(-0.5, 0.5), unit="probability", forwards=18,
        definition="(LeRF - MoRF) / 2: mean probability after 10, 20 .. 90 % of the pixels were removed, coldest "
        "(LeRF) and hottest (MoRF) first; a removed pixel becomes the weighted mean of its neighbours (1/6 beside, "
        "1/12 across, a sparse linear system) plus normal noise of deviation 0.01 in units of the network's input, "
        "seeded",
        tells="whether hot pixels hold what the class needs; removed pixels leave weaker edges than in deletion",
        does_not_tell="what a few pixels do: the smallest step is a tenth of the image",
    ),
    Metric(
        "infidelity", "Infidelity", "how far the heat of a square differs from the effect of hiding the square",
        "Yeh et al., NeurIPS 2019, arXiv:1901.09392", Group.FAITHFULNESS, "robustness.infidelity",
        asks=Asks.SUBJECT, more_is_better=False, range=(0, None), unit="squared unit of the target, such as logit^2",
        forwards=65,
        definition="mean over 64 squares, a quarter of each side, at seeded places, of (b * sum of heat in the square "
        "- (T(x) - T(x with the square at 0)))^2; T the target, b the factor that makes the mean smallest",
        tells="whether the heat of a place, summed, is how much the place changes the target; a constant factor of "
        "the map makes no difference",
        does_not_tell="how two networks or two targets compare: it grows with the square of the logits",
    ),
    Metric(
        "completeness", "Completeness", "whether the map adds up to the logit",
        "Zhou et al., CVPR 2016, arXiv:1512.04150; Sundararajan et al., ICML 2017, arXiv:1703.01365",
        Group.FAITHFULNESS, "faithfulness.completeness",
        asks=Asks.SUBJECT, more_is_better=False, range=(0, None), unit="share of the logit", forwards=1,
        definition="|mean of the map + bias - T(x)| / |T(x)|; of maps in logits, such as cam of a linear head",
        tells="whether the map adds up to the whole logit: nearly 0 where the map is exact",
        does_not_tell="anything about maps in other units, for which it is not defined",
    ),
)  # fmt: skip

_LOCALISATION = (
    Metric(
        "pointing", "Pointing game", "whether the hottest pixel lies in the object",
        "Zhang et al., ECCV 2016, arXiv:1608.00507", Group.LOCALISATION, "localisation.pointing",
        asks=Asks.MASK, more_is_better=True, range=(0, 1), unit="share of hits",
        definition="1 where the hottest pixel belongs to the object, else 0; where several pixels are hottest, the "
        "share of them that belongs to it; no tolerance",
        tells="whether the peak is where the object is; a monotone change of the heat makes no difference",
        does_not_tell="anything about other pixels: a dot in the middle hits every large object in the middle",
    ),
    Metric(
        "pointing_within", "Pointing game, 15 pixels", "whether the hottest pixel lies within 15 pixels of the object",
        "Zhang et al., ECCV 2016, arXiv:1608.00507", Group.LOCALISATION, "localisation.pointing_within",
        asks=Asks.MASK, more_is_better=True, range=(0, 1), unit="share of hits",
        definition="as pointing, but a pixel at most 15 pixels (Euclidean, of the heat as it is given) from a pixel of "
        "the object is also a hit; the paper's variant",
        tells="the same as pointing, comparable with papers that allow the tolerance",
        does_not_tell="much about small images: 15 pixels are a large part of them",
    ),
    Metric(
        "pixel_ap", "Pixel average precision", "how well heat ranks the object's pixels before all others",
        "Choe et al., CVPR 2020, arXiv:2001.07437 (PxAP)", Group.LOCALISATION, "localisation.pixel_ap",
        asks=Asks.MASK, more_is_better=True, range=(0, 1), unit="average precision",
        definition="sum over thresholds of precision times the step in recall, no interpolation; pixels of equal heat "
        "count as one; for one image",
        tells="how well one threshold can separate the object; a monotone change of the heat makes no difference; a "
        "uniform map has the object's share of the image",
        does_not_tell="whether the model uses the object: a correct map may mark the background",
    ),
    Metric(
        "pixel_auroc", "Pixel AUROC", "how often a pixel of the object is hotter than a pixel outside it",
        "Fawcett, Pattern Recognition Letters 2006, doi:10.1016/j.patrec.2005.10.010", Group.LOCALISATION,
        "localisation.pixel_auroc",
        asks=Asks.MASK, more_is_better=True, range=(0, 1), unit="probability",
        definition="P(heat of an object's pixel > heat of another pixel) + P(equal) / 2",
        tells="how well heat ranks pixels, for any size of the object; a uniform map has 0.5",
        does_not_tell="much about small objects: a little heat on a large background hardly lowers it",
    ),
    Metric(
        "best_iou", "Best-threshold IoU", "overlap of hot pixels and object at the best threshold",
        "Choe et al., CVPR 2020, arXiv:2001.07437", Group.LOCALISATION, "localisation.best_iou",
        asks=Asks.MASK, more_is_better=True, range=(0, 1), unit="intersection over union",
        definition="max over all thresholds t of |heat >= t and object| / |heat >= t or object|",
        tells="how well the map fits the object's shape at its best threshold; a uniform map has the object's share",
        does_not_tell="how good a threshold is that was chosen without the object",
    ),
    Metric(
        "energy", "Energy in the object", "how much of the heat lies in the object",
        "Wang et al., CVPR workshops 2020, arXiv:1910.01279", Group.LOCALISATION, "localisation.energy",
        asks=Asks.MASK, more_is_better=True, range=(0, 1), unit="share of the heat",
        definition="positive heat in the object divided by all positive heat; the object's share of the image where "
        "no heat is positive",
        tells="how much of the coloured area lies in the object; a uniform map has the object's share",
        does_not_tell="which method ranks better: a power of the map raises it, so never compare methods by it alone",
    ),
    Metric(
        "max_box_acc_v2", "MaxBoxAccV2", "whether a box around hot pixels matches the object's box",
        "Choe et al., CVPR 2020 and its extension, arXiv:2007.04178", Group.LOCALISATION, "localisation.max_box_acc_v2",
        asks=Asks.MASK, more_is_better=True, range=(0, 1), unit="share of hits",
        definition="heat is scaled to 0..1 by its minimum and maximum; at each of 255 thresholds, boxes are drawn "
        "around the regions above it (corners connect), and the best IoU with a box of the object is taken; the best "
        "threshold's hits at IoU 0.3, 0.5 and 0.7, averaged. For a dataset, all images share one threshold: "
        "max_box_acc_v2_of_all",
        tells="how good boxes made of maps can be; published for CAM on ImageNet: 60.0 VGG, 63.4 Inception, 63.7 "
        "ResNet-50 (percent, for a dataset)",
        does_not_tell="the dataset's number: the mean over images is higher, because each image has its own threshold",
    ),
    Metric(
        "grid_pg", "Grid pointing game", "how much of the heat lies in the class's own cell of a mosaic",
        "Böhle et al., CVPR 2021, arXiv:2104.00032 (localisation metric)", Group.LOCALISATION, "localisation.grid_pg",
        asks=Asks.IMAGES, more_is_better=True, range=(0, 1), unit="share of the heat",
        definition="photographs of n x n different classes as one mosaic; positive heat of a class in its own cell "
        "divided by all positive heat; 1 / n^2 where no heat is positive",
        tells="whether the map shows this class and not any object; the ground truth is exact and needs no masks; "
        "a uniform map has 1 / n^2",
        does_not_tell="which of two methods ranks better: a power of the map raises it, so also read grid_auroc",
    ),
    Metric(
        "grid_auroc", "Grid AUROC", "how often a pixel of the class's own cell is hotter than a pixel of other cells",
        "Böhle et al., CVPR 2021, arXiv:2104.00032, with pixel AUROC", Group.LOCALISATION, "localisation.grid_auroc",
        asks=Asks.IMAGES, more_is_better=True, range=(0, 1), unit="probability",
        definition="pixel_auroc of the class's own cell of an n x n mosaic against the other cells",
        tells="the same as grid_pg, but a power of the map does not change it; a uniform map has 0.5",
        does_not_tell="how strong the heat in other cells is",
    ),
)  # fmt: skip

_RANDOMISATION = (
    Metric(
        "cascade_spearman", "Cascading randomisation, Spearman",
        "how similar the map stays when the network's weights are made random",
        "Adebayo et al., NeurIPS 2018, arXiv:1810.03292", Group.RANDOMISATION, "randomisation.cascade_spearman",
        asks=Asks.WEIGHTS, more_is_better=False, range=(-1, 1), unit="rank correlation", maps=None,
        definition="weights made random from the output towards the input; mean over the depths of Spearman's rank "
        "correlation between the raw maps, signed, ranks of equal values averaged; 0 where a map is constant",
        tells="whether the map depends on what the network has learned: it does where the number is near 0",
        does_not_tell="whether the map is right; the mean depends on the depths, so compare within one network",
    ),
    Metric(
        "cascade_ssim", "Cascading randomisation, SSIM",
        "how similar the picture of the map stays when the network's weights are made random",
        "Adebayo et al., NeurIPS 2018, arXiv:1810.03292", Group.RANDOMISATION, "randomisation.cascade_ssim",
        asks=Asks.WEIGHTS, more_is_better=False, range=(-1, 1), unit="structural similarity", maps=None,
        definition="as cascade_spearman, with SSIM (Wang et al. 2004: windows of 7 x 7, or of the shorter side where "
        "that is less; data range 2) of the maps, each divided by its largest absolute value",
        tells="the same as cascade_spearman, but closer to what the eye compares",
        does_not_tell="much about smooth maps: any two of them are somewhat similar",
    ),
    Metric(
        "random_logit", "Random logit", "how similar the map is to the map of another class",
        "Sixt et al., ICML 2020, arXiv:1912.09818", Group.RANDOMISATION, "randomisation.random_logit",
        asks=Asks.CLASSES, more_is_better=False, range=(-1, 1), unit="structural similarity", maps=None,
        definition="mean SSIM, as in cascade_ssim, between the map and the maps of other classes, chosen at random",
        tells="whether the map depends on the class: 1 means the same map for every class",
        does_not_tell="which of the maps is right; two classes may be at the same place",
    ),
)  # fmt: skip

_ROBUSTNESS = (
    Metric(
        "max_sensitivity", "Max-sensitivity", "how much the map changes with invisible noise",
        "Yeh et al., NeurIPS 2019, arXiv:1901.09392", Group.ROBUSTNESS, "robustness.max_sensitivity",
        asks=Asks.SUBJECT, more_is_better=False, range=(0, None), unit="share of the map's length", maps=10,
        definition="max over 10 seeded inputs x' of |heat(x') - heat(x)| / |heat(x)|, Euclidean; x' is x plus uniform "
        "noise of -0.02 .. 0.02 in units of the network's input",
        tells="whether the map stays the same under small changes",
        does_not_tell="whether the map is right: a map that is always the same has 0",
    ),
)  # fmt: skip

_COMPLEXITY = (
    Metric(
        "sparseness", "Sparseness", "how unevenly heat is spread: the Gini index",
        "Chalasani et al., ICML 2020, arXiv:1810.06583", Group.COMPLEXITY, "complexity.sparseness",
        asks=Asks.HEAT, more_is_better=None, range=(0, 1), unit="Gini index",
        definition="sum_i (2 i - n - 1) h_i / (n sum_i h_i), h the positive heat in rising order; 0 where no heat is "
        "positive",
        tells="0 is a uniform map, 1 - 1/n a single pixel",
        does_not_tell="whether the map is right: a higher number is not better in itself, and a finer map has a higher "
        "number",
    ),
    Metric(
        "entropy", "Complexity", "how many pixels the heat is spread over: its entropy",
        "Bhatt et al., IJCAI 2020, arXiv:2005.00631", Group.COMPLEXITY, "complexity.entropy",
        asks=Asks.HEAT, more_is_better=None, range=(0, None), unit="nats",
        definition="- sum_i p_i ln p_i, p the positive heat divided by its sum; ln n, as for a uniform map, where no "
        "heat is positive",
        tells="0 is a single pixel, ln n a uniform map of n pixels; exp of it is a number of pixels",
        does_not_tell="whether the map is right; it grows with the number of pixels",
    ),
)  # fmt: skip

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (*_FAITHFULNESS, *_LOCALISATION, *_RANDOMISATION, *_ROBUSTNESS, *_COMPLEXITY)
}


def find_metric(name: str) -> Metric:
    """Return the metric with that name; "-" may stand for "_". Raises UnknownName with close matches."""
    given = name.strip().lower().replace("-", "_")
    if given not in METRICS:
        raise UnknownName("metric", name, METRICS, close=close_names(given, METRICS))
    return METRICS[given]


def metrics_of(group: Group) -> tuple[Metric, ...]:
    """The metrics of a group, in the registry's order."""
    return tuple(metric for metric in METRICS.values() if metric.group is group)


def parse_metrics(texts: str | Iterable[str]) -> tuple[str, ...]:
    """Return the metrics of texts such as "insertion,localisation" or "all", each once, in the registry's order.

    Raises UnknownName with close matches.
    """
    names = [name.strip() for text in ([texts] if isinstance(texts, str) else texts) for name in text.split(",")]
    wanted = {metric for name in names for metric in _meant(name)}
    return tuple(name for name in METRICS if name in wanted)


def _meant(name: str) -> tuple[str, ...]:
    if name.lower() == EVERY:
        return tuple(METRICS)
    if name.lower() in set(Group):
        return tuple(metric.name for metric in metrics_of(Group(name.lower())))
    try:
        return (find_metric(name).name,)
    except UnknownName:
        raise UnknownName("metric or group of metrics", name, [EVERY, *map(str, Group), *METRICS]) from None
