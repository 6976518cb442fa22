"""Charts for benches/README.md: SVG files that change only where what they show does."""

import contextlib


@contextlib.contextmanager
def chart(path, columns=1, size=(7, 3.6)):
    """Axes to draw on, one or as many as there are columns; what was drawn is written to `path`."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "strongroom"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(1, columns, figsize=size)
    yield axes
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def lines(path, across, up, places, heights):
    """A line for each name's heights, over the same places."""
    with chart(path) as axis:
        for name, row in heights.items():
            axis.plot(places, row, marker="o", label=name)
        axis.set_ylim(bottom=0)
        axis.set_xlabel(across)
        axis.set_ylabel(up)
        axis.legend()
