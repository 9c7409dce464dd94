"""The bundle on disk: manifest, weights, specialists, signatures; read with bounds, written whole."""
