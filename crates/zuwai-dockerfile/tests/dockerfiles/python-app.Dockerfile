FROM python:3.13-slim
LABEL org.opencontainers.image.title="An app" \
      org.opencontainers.image.description='It says "hi"' \
      version=1.0
RUN apt-get update \
 # what the wheels need
 && apt-get install -y --no-install-recommends \
      gcc \
      libpq-dev \
 && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /tmp/
RUN pip install --no-cache-dir -r /tmp/requirements.txt
COPY . /srv
WORKDIR /srv
VOLUME ["/data", "/var/log/app"]
STOPSIGNAL SIGINT
CMD exec gunicorn -b 0.0.0.0:${PORT:-8000} app:app
