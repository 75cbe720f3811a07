FROM a AS b
FROM c
COPY --from=b --chown=user:group --chmod=u=rwX,go=rX --link /x /y
COPY --link=false a b c/
COPY --parents ./a/./b/*.txt ./c/ /dest/
COPY --exclude=*.log --exclude='with space' src/ dst/
COPY --from=alpine:3.23 /etc/passwd /
COPY --chown=$UID --chmod=${MODE} $SRC $DST
COPY --from=0 x y
COPY -- --odd name
COPY arr[[]0].txt file\ name /d/
