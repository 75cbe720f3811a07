# check=experimental=CopyIgnoredFile
FROM scratch AS other
FROM scratch
COPY f /
ADD f /
COPY /f keep g* dir dir/ dir/sub dir/sub/x dir/other nothere /d/
COPY keep /
ADD http://127.0.0.1:1/f /
COPY --from=other f /
COPY ["f", "/"]
COPY <<f /
f
