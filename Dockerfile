# docker build --tag dreamlayer .                              the built-in and the erase engine: 1.4 GB
# docker build --tag dreamlayer --build-arg VARIANT=cpu .      and diffusion on processors
# docker build --tag dreamlayer --build-arg VARIANT=cuda .     and diffusion on NVIDIA GPUs
# docker run --publish 8000:8000 --volume dreamlayer:/data dreamlayer
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS packages
ARG VARIANT=light
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN python3 -m venv /opt/dreamlayer \
    && install="/opt/dreamlayer/bin/pip install --no-cache-dir --only-binary :all: --constraint constraints.txt" \
    && case "$VARIANT" in \
        light) extras=scale,erase ;; \
        cpu) extras=scale,erase,diffusion; $install --no-deps --index-url https://download.pytorch.org/whl/cpu torch ;; \
        cuda) extras=scale,erase,diffusion ;; \
        *) echo "VARIANT is light, cpu or cuda, not $VARIANT" >&2; exit 1 ;; \
    esac \
    && $install ".[$extras]"

FROM ${BASE}
RUN useradd --uid 10001 --home-dir /data --shell /usr/sbin/nologin dreamlayer \
    && install --directory --owner dreamlayer --group dreamlayer --mode 700 /data /models
COPY --from=packages /opt/dreamlayer /opt/dreamlayer
WORKDIR /app
COPY . .
# The root file system may be read-only, so Python could not store what it compiles.
RUN /opt/dreamlayer/bin/python -m compileall -q .
ENV PATH=/opt/dreamlayer/bin:$PATH PYTHONUNBUFFERED=1 DREAMLAYER_DATA_DIR=/data DREAMLAYER_MODELS=/models \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
VOLUME ["/data", "/models"]
EXPOSE 8000
HEALTHCHECK --start-period=60s --timeout=5s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=3)"]
CMD ["sh", "-c", "python manage.py migrate --verbosity 0 && exec python manage.py serve --host 0.0.0.0"]
