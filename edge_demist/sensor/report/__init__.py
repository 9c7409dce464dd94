"""The report: incidents as one HTML file that needs no network."""
