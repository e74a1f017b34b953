# syntax=docker/dockerfile:1
# The reference model's image, for training jobs and endpoints, on x86-64 and on arm64 (Graviton):
#
#   docker buildx build --platform linux/amd64,linux/arm64 -f infra/reference-model.Dockerfile \
#     -t ACCOUNT.dkr.ecr.REGION.amazonaws.com/mannen/reference-model:1 --push .
#
# SageMaker starts it as `docker run <image> train` and `docker run <image> serve`.

# Compiled on the builder's own processor for the other one: emulation would take an hour.
FROM --platform=$BUILDPLATFORM rust:1.95-slim-bookworm AS build
ARG TARGETARCH
RUN <<END
set -eu
case "$TARGETARCH" in
  amd64) triple=x86_64-unknown-linux-gnu packages="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" prefix=x86_64-linux-gnu ;;
  arm64) triple=aarch64-unknown-linux-gnu packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" prefix=aarch64-linux-gnu ;;
  *) echo "no build for $TARGETARCH" >&2; exit 1 ;;
esac
apt-get update
if [ "$(dpkg --print-architecture)" = "$TARGETARCH" ]; then packages="gcc libc6-dev"; fi
apt-get install --yes --no-install-recommends $packages
rm -rf /var/lib/apt/lists/*
rustup target add "$triple"
upper=$(echo "$triple" | tr 'a-z-' 'A-Z_')
{
  echo "export CARGO_BUILD_TARGET=$triple"
  echo "export CARGO_TARGET_${upper}_LINKER=$prefix-gcc"
  echo "export CC_$(echo "$triple" | tr - _)=$prefix-gcc"
} > /target.sh
END
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target <<END
set -eu
. /target.sh
CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_STRIP=true \
  cargo build --release --locked -p reference-model --bin reference-model
cp "target/$CARGO_BUILD_TARGET/release/reference-model" /reference-model
END

# glibc and nothing else: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
COPY --from=build /reference-model /usr/local/bin/reference-model
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/reference-model"]
