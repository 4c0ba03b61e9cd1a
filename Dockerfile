# The program on GPUs: annotator, vLLM and training nodes. Not built and not run here: neither a builder nor a GPU was at
# hand (docs/cluster.md). Ray's own image, so that node, head and lock file have one Ray and one Python; the user is `ray`.
FROM rayproject/ray:2.60.0-py311-gpu

WORKDIR /home/ray/snowcoder
# Dependencies first: a change of the program does not install them again.
COPY --chown=ray:users requirements/ requirements/
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements/gpu.lock
COPY --chown=ray:users . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && python -m pipelines.warm_up \
    && python -c "import ray, sys; assert (ray.__version__, sys.version_info[:2]) == ('2.60.0', (3, 11))"
ENV HF_HUB_OFFLINE=1 RAY_TRAIN_ENABLE_STATE_TRACKING=1
