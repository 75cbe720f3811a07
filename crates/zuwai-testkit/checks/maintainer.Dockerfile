FROM scratch
MAINTAINER me <me@example.com>
LABEL maintainer=me
