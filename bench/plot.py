"""The plot of a run: what a second brings, over clients, and over lines a call."""
from statistics import median


def draw(path, document, runs, clients='clients', ylabel='committed rows/s', bold=('reserve', 'batch')):
    """Writes the plot and says so, or says why there is none."""
    try:
        import matplotlib
    except ImportError:
        return 'no plot: matplotlib is not installed'
    matplotlib.use('svg')
    matplotlib.rcParams.update({'svg.hashsalt': 'holdfast', 'svg.fonttype': 'none'})
    from matplotlib import pyplot

    parts = [('clients', clients, [run for run in runs if 'lines' not in run]),
             ('lines', 'lines a call, one connection', [run for run in runs if 'lines' in run])]
    parts = [part for part in parts if part[2]]
    if not parts:
        return 'no plot: nothing was run that it shows'
    figure, axes = pyplot.subplots(1, len(parts), figsize=(7 * len(parts), 5), squeeze=False)
    for axis, (key, title, points) in zip(axes[0], parts):
        draw_part(axis, key, title, points, ylabel, bold)
    machine = document['machine']
    figure.suptitle(f'{machine["cores"]} cores, {machine["cpu"]}, PostgreSQL {machine["postgresql"]}, durable, '
                    f'{document["begun"][:10]}', fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={'Date': None})
    lines = [line.rstrip() for line in path.read_text().splitlines()]
    path.write_text('\n'.join(lines) + '\n')
    return f'written: {path}'


def draw_part(axis, key, title, runs, ylabel, bold):
    ticks = sorted({run[key] for run in runs})
    for name in dict.fromkeys(run['arm'] for run in runs):
        xs = [tick for tick in ticks if any(run['arm'] == name and run[key] == tick for run in runs)]
        rates = [[run['rate'] for run in runs if run['arm'] == name and run[key] == x] for x in xs]
        middle = [median(each) for each in rates]
        spread = [[m - min(each) for m, each in zip(middle, rates)], [max(each) - m for m, each in zip(middle, rates)]]
        axis.errorbar(xs, middle, yerr=spread, marker='o', capsize=3, label=name,
                      linewidth=2.5 if name in bold else 1.2)
    axis.set(xscale='log', yscale='log', xlabel=title, ylabel=ylabel)
    axis.set_xticks(ticks, [f'{tick:,}' for tick in ticks])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
