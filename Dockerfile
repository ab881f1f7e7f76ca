# docker build -t cipush .
# docker run --read-only -v cipush:/state -p 9817:9817 cipush run --listen 0.0.0.0:9817 --push http://victoria:8428
#
# Debian based on purpose: protobuf has no wheel for musl, and its pure-Python fallback encodes 35 times slower.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY agent agent
RUN python -m venv /opt/cipush && /opt/cipush/bin/pip install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/cipush /opt/cipush
RUN useradd --system --uid 10001 --no-create-home cipush && install -d -o cipush -m 0700 /state
ENV PATH=/opt/cipush/bin:$PATH STATE_DIRECTORY=/state PYTHONDONTWRITEBYTECODE=1
USER 10001
VOLUME /state
EXPOSE 9817
ENTRYPOINT ["cipush"]
CMD ["run"]
