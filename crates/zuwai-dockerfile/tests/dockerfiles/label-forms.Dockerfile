FROM a
LABEL simple value
LABEL "com.example.vendor"="ACME Incorporated"
LABEL multi.a="1" multi.b=2 \
      multi.c='3'
LABEL description="This text spans \
several lines."
LABEL "key with spaces"=x $expanded=y
