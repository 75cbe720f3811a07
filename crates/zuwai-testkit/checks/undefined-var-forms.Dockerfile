FROM scratch
ENV e=${unset#a} f=${unset2%%a} g=${unset3/a/b} h=${n:-$nested}
ENV \$esc='$single' ok="$double"
ENV a=$PATH b=$$x c=$1 d=$@ e=\\$z f="\$y"
ENV self=1 other=$self
