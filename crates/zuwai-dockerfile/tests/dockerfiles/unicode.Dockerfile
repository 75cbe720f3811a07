FROM a
LABEL größe="ß" 名前="ズワイ"
RUN echo "🦀 crab" \
  && echo ünï
USER  x
MAINTAINER Ünï Cøde
