# docker build --tag dreamlayer .                              the built-in and the erase engine: 1.4 GB
# docker build --tag dreamlayer --build-arg VARIANT=cpu .      and diffusion on processors
# docker build --tag dreamlayer --build-arg VARIANT=cuda .     and diffusion on NVIDIA GPUs
# docker run --publish 8000:8000 --volume dreamlayer:/data dreamlayer
ARG BASE=python:3.13-slim-bookworm
ARG NODE=node:22-bookworm-slim

FROM ${NODE} AS bundle
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund --silent
COPY static static
RUN npm run --silent bundle

FROM ${BASE} AS packages
ARG VARIANT=light
WORKDIR /build
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY deploy/locked.py deploy/
# DreamLayer itself is built without isolation, for which pip would fetch setuptools without a check.
RUN python3 -m venv /opt/dreamlayer \
    && case "$VARIANT" in \
        light) set -- base scale erase ;; \
        cpu | cuda) set -- base scale erase diffusion "$VARIANT" ;; \
        *) echo "VARIANT is light, cpu or cuda, not $VARIANT" >&2; exit 1 ;; \
    esac \
    && python3 deploy/locked.py "$@" >wanted.txt \
    && install="/opt/dreamlayer/bin/pip install --no-cache-dir --only-binary :all: --no-deps" \
    && $install --require-hashes --requirement wanted.txt \
    && $install --no-build-isolation .

FROM ${BASE}
RUN useradd --uid 10001 --home-dir /data --shell /usr/sbin/nologin dreamlayer \
    && install --directory --owner dreamlayer --group dreamlayer --mode 700 /data /models
COPY --from=packages /opt/dreamlayer /opt/dreamlayer
WORKDIR /app
COPY . .
COPY --from=bundle /build/static/bundle static/bundle
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
