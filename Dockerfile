# docker build -t raincheck .
# docker run -p 8080:8080 -v raincheck:/var/lib/raincheck raincheck serve --upstream http://host.docker.internal:8000

FROM rust:1.95.0-slim-bookworm AS build
# For SQLite and zlib-ng; versions are Debian's.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin raincheck

FROM debian:12.12-slim
# Authorities for webhooks and upstreams over TLS.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -m 0700 -o 10001 -g 10001 /var/lib/raincheck
COPY --from=build /src/target/release/raincheck /usr/local/bin/raincheck
# A number, so that Kubernetes sees that it is not root.
USER 10001:10001
# With --upstream the store is ./raincheck-data, so in the volume too.
WORKDIR /var/lib/raincheck
VOLUME /var/lib/raincheck
EXPOSE 8080
STOPSIGNAL SIGTERM
# For Docker; Kubernetes has probes of its own. It asks the default admin address.
HEALTHCHECK --start-period=30s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9180 && printf 'GET /livez HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r -t 5 line <&3 && [[ $line == *' 200 '* ]]"]
ENTRYPOINT ["raincheck"]
CMD ["serve", "--config", "/etc/raincheck/raincheck.toml"]
