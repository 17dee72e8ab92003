# One image for every process of ours: `lyo worker`, `lyo sink`, `lyo api`, `lyo monitor`, and the jobs.
# It runs as nobody in particular (10001) and needs no writable file system but /tmp.
# Any builder makes it, the classic one too. PYTHON_IMAGE may add a digest: python:3.11.14-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY requirements-runtime.txt ./
RUN python3 -m venv /opt/lyo \
 && /opt/lyo/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes --no-deps \
      -r requirements-runtime.txt
COPY . /lyo
# The wheel, compiled now, since nothing can be written later.
RUN /opt/lyo/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --compile /lyo \
 && /opt/lyo/bin/pip uninstall --quiet --yes setuptools wheel

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/lyo /opt/lyo
RUN echo 'lyo:x:10001:10001:lyo:/tmp:/usr/sbin/nologin' >> /etc/passwd && echo 'lyo:x:10001:' >> /etc/group
ENV PATH=/opt/lyo/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp LYO_HOME=/tmp/lyo
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["lyo"]
