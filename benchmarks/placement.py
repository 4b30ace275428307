"""How far is the heat from its object, for each placement rule and each input size?

    python benchmarks/placement.py PHOTOGRAPHS [--model efficientnet-lite0] [--count 60] [--sizes 224x224 299x224 ...]

PHOTOGRAPHS: a folder of photographs of classes that the model knows; --count of them are used, evenly spread. They are
pasted on inputs of each size (W x H) as `camserve calibrate` does it.

Printed per size: the measured offset, its standard error, and the errors of the centred and of the calibrated rule:
their offsets minus the measured offset. In pixels, across and down. The calibrated rule is the card's.
"""

import argparse
from pathlib import Path

import camserve
from camserve.batch import find_images
from camserve.errors import OptionError
from camserve.geometry.frame import native
from camserve.onboarding.calibration import calibrate

SIZES = ("224x224", "240x240", "299x224", "320x320", "288x391", "384x384", "260x224", "257x224", "257x391")


def main() -> None:
    """Print one row per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    options = parser.parse_args()
    model = camserve.load(options.model)
    files = find_images(options.photographs, options.photographs)[0]
    files = files[:: max(1, len(files) // options.count)][: options.count]
    print(f"{'size':>9} {'used':>5} {'measured':>15} {'error':>11} {'centred off by':>15} {'calibrated off by':>18}")
    for size in options.sizes:
        width, height = (int(side) for side in size.split("x"))
        try:
            made = calibrate(model, files, size=(width, height))
        except OptionError as error:
            print(f"{size:>9} {error}", flush=True)
            continue
        placed = model.layer().placement(native((width, height)), (1, 1))
        off = [f"{placed.offset[axis] - made.offset[axis]:+.1f}" for axis in (0, 1)]
        row = f"{made.offset[0]:7.1f} {made.offset[1]:7.1f} {made.error[0]:5.1f} {made.error[1]:5.1f}"
        print(
            f"{size:>9} {made.photographs:>5} {row} {made.bias[0]:+7.1f} {made.bias[1]:+7.1f} {off[0]:>9} {off[1]:>8}"
        )


if __name__ == "__main__":
    main()
