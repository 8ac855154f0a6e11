# Sourced: where the recordings are. FSDD= wins; else the corpus is cloned once.
if [ -z "${FSDD:-}" ]; then
    FSDD=downloads/free-spoken-digit-dataset/recordings
    if [ ! -d "$FSDD" ]; then
        git clone --depth 1 https://github.com/Jakobovski/free-spoken-digit-dataset.git \
            downloads/free-spoken-digit-dataset ||
            { echo "no FSDD: set FSDD=<folder with recordings>, or allow the download" >&2; exit 1; }
    fi
fi
export FSDD
