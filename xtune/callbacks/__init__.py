"""What watches a run: progress, plots and the report, visualizer backends."""
