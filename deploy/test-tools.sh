#!/bin/sh
# Finds, or on Debian as root installs, what the tests use: Chromium, dcmtk, dicom3tools, Orthanc with DICOMweb, nginx.
set -eu
missing=""
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
  || missing="$missing chromium"
command -v storescu >/dev/null || missing="$missing dcmtk"
command -v dciodvfy >/dev/null || missing="$missing dicom3tools"
[ -x /usr/sbin/Orthanc ] || missing="$missing orthanc"
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc-dicomweb"
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing="$missing nginx"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
  echo "concord: the tests need:$missing (on Debian: sudo apt-get install$missing)" >&2
  exit 1
fi
