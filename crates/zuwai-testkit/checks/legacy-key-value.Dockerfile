FROM scratch
ENV name value with words
LABEL name value
env lower case
ENV name=value other="a b"
ONBUILD ENV name value
