"""Reports: one self-contained HTML file each, which works offline and on a telephone."""
