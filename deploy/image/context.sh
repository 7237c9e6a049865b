#!/bin/sh
# Makes the image's build context in a folder that is empty or not there yet:
#
#   deploy/image/context.sh OUT
#   docker build -t shoal OUT
set -eu
out=${1:?usage: deploy/image/context.sh OUT}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
if [ -n "$(ls -A "$out")" ]; then
  echo "$out is not empty; name a new folder" >&2
  exit 2
fi
cd "$here/../.."
npx -y pnpm@12.21.0 build
npx -y pnpm@12.21.0 --filter @shoal/cli deploy --prod "$out/shoal"
mkdir "$out/data"
cp "$here/health.mjs" "$out/shoal/"
cp "$here/Dockerfile" "$out/"
cp "$here/dockerignore" "$out/.dockerignore"
