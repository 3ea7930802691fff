#!/bin/bash
# Makes about a hundred pictures that pico's generator did not draw, with questions and answers in data.jsonl:
#
#   recipes/pico/foreign.sh FOLDER && build/bin/pico_eval --model pico --tasks none --data FOLDER/data.jsonl
#
# Words and shapes by ImageMagick and Ghostscript on plain, shaded, cloudy (plasma) and photo-like (assets/desk.jpg)
# grounds; a page by Chromium and one by LibreOffice where these are installed. Debian packages: imagemagick,
# ghostscript, fontconfig and fonts-dejavu-core, fonts-liberation, fonts-lato, fonts-noto-core.
set -eu
out=${1:?usage: foreign.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
photo=$here/../../assets/desk.jpg
RANDOM=20261123
mkdir -p "$out"
data=$out/data.jsonl
: > "$data"

magick=
for program in convert /usr/bin/convert magick; do
  if "$program" -version 2> /dev/null | grep -q ImageMagick; then magick=$program && break; fi
done
[ -n "$magick" ] || { echo "foreign.sh: ImageMagick is not installed (Debian package imagemagick)" >&2; exit 1; }

fonts=()
for family in "DejaVu Sans" "DejaVu Serif" "DejaVu Sans Mono" "Liberation Sans" "Liberation Serif" "Liberation Mono" \
    "Lato" "Noto Sans" "Noto Serif" "Carlito" "Open Sans"; do
  file=$(fc-match -f '%{family}|%{file}' "$family:style=Regular")
  case $file in "$family"*) fonts+=("${file#*|}") ;; esac
done
[ ${#fonts[@]} -ge 3 ] || { echo "foreign.sh: too few fonts are installed" >&2; exit 1; }

# between LOW HIGH -> a number
between() { value=$(($1 + RANDOM % ($2 - $1 + 1))); }
# pick WORD... -> one of them
pick() { local n=$((RANDOM % $#)); shift "$n"; value=$1; }

# ask TASK FILE QUESTION ANSWER
ask() {
  printf '{"task": "%s", "images": ["%s"], "messages": [{"role": "user", "content": "<image>%s"}, {"role": "assistant", "content": "%s"}]}\n' \
    "$1" "$2" "$3" "$4" >> "$data"
}

# ground KIND WIDTH HEIGHT LIGHT FILE: `LIGHT` 1 makes it light, 0 dark
ground() {
  local kind=$1 size=$2x$3 low=72% high=100% target=$5
  [ "$4" = 1 ] || { low=0%; high=32%; }
  case $kind in
    plain)
      if [ "$4" = 1 ]; then pick white white ivory '#f0f0f0' '#fff3c4' '#dcecff' '#e4f7e4'; else pick black '#102040' '#400010' '#0c3018' '#303030'; fi
      "$magick" -size "$size" "xc:$value" "$target" ;;
    shaded)
      if [ "$4" = 1 ]; then pick white-lightblue ivory-wheat white-pink; else pick black-navy black-darkgreen '#202020-#502050'; fi
      "$magick" -size "$size" "gradient:$value" "$target" ;;
    cloudy)
      "$magick" -seed "$RANDOM" -size "$size" plasma:fractal -blur 0x2 -modulate 100,60 +level "$low,$high" "$target" ;;
    photo)
      between 0 380; local x=$value; between 0 300
      "$magick" "$photo" -crop "$size+$x+$value" +repage -resize "$size!" -blur 0x1 +level "$low,$high" "$target" ;;
  esac
}

# finish FILE TARGET: some become JPEG files of middling quality
finish() {
  case $((RANDOM % 3)) in
    0) "$magick" "$1" -quality 70 "$out/$2.jpg"; value=$2.jpg ;;
    *) "$magick" "$1" "$out/$2.png"; value=$2.png ;;
  esac
}

words=(river Garden LEMON window bridge Table SUMMER planet guitar Kitchen coffee HOUSE silver market yellow Monday
  ocean PAPER rabbit school winter Doctor forest TICKET butter camera island mirror number Orange
  cat Sun MAP tree Book FISH lamp ship Road STAR morning library PICTURE teacher holiday Journey weather hospital
  mountain ELEPHANT umbrella chocolate Breakfast telephone)
questions=("What does it say?" "Read the text." "Read the word." "What is written here?")
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

number=0
for word in "${words[@]}"; do
  number=$((number + 1))
  name=word$number
  question=${questions[$((RANDOM % 4))]}
  if [ $((number % 6)) = 0 ] && command -v gs > /dev/null; then
    # PostScript's own fonts and another rasteriser.
    pick Helvetica Times-Roman Courier Helvetica-Bold Palatino-Roman; font=$value
    between 24 44; size=$value
    width=$((size * (${#word} + 2) * 7 / 10 + 20))
    printf '%%!PS\n1 1 0.94 setrgbcolor 0 0 %d %d rectfill 0.1 0.1 0.3 setrgbcolor /%s findfont %d scalefont setfont %d %d moveto (%s) show showpage\n' \
      "$width" $((size * 2)) "$font" "$size" $((size / 2)) $((size * 7 / 10)) "$word" > "$temporary/word.ps"
    gs -q -dSAFER -dBATCH -dNOPAUSE -sDEVICE=png16m -r72 -dTextAlphaBits=4 -g${width}x$((size * 2)) \
      -sOutputFile="$temporary/word.png" "$temporary/word.ps"
  else
    font=${fonts[$((RANDOM % ${#fonts[@]}))]}
    light=$((RANDOM % 4 > 0))
    if [ $light = 1 ]; then pick black black navy darkred darkgreen purple; else pick white white yellow lightcyan pink; fi
    ink=$value
    between 22 44; size=$value
    "$magick" -background none -fill "$ink" -font "$font" -pointsize "$size" "label:$word" "$temporary/text.png"
    read -r w h <<< "$("$magick" "$temporary/text.png" -format '%w %h' info:)"
    between 8 60; width=$((w + value)); between 6 50; height=$((h + value))
    case $((number % 5)) in 0) kind=photo ;; 1 | 2) kind=plain ;; 3) kind=shaded ;; 4) kind=cloudy ;; esac
    ground $kind $width $height $light "$temporary/ground.png"
    between -4 4
    "$magick" "$temporary/ground.png" \( "$temporary/text.png" -background none -rotate $((RANDOM % 3 ? 0 : value)) \) -gravity center \
      -composite -alpha off "$temporary/word.png"
  fi
  finish "$temporary/word.png" $name
  ask "foreign words" "$value" "$question" "$word"
done

colors=(red orange yellow green blue purple pink brown black white gray cyan)
declare -A hex=([red]='#d81e1e' [orange]='#f58a14' [yellow]='#f2d81c' [green]='#1f9a35' [blue]='#1f45d0' [purple]='#7d22a8'
  [pink]='#f78ab8' [brown]='#7a4a1f' [black]='#0a0a0a' [white]='#fcfcfc' [gray]='#808080' [cyan]='#20d0e0')
shapes=(circle square triangle diamond star cross heart ring)

# outline SHAPE CENTRE_X CENTRE_Y RADIUS INK -> arguments of convert
outline() {
  awk -v shape="$1" -v x="$2" -v y="$3" -v r="$4" 'BEGIN {
    pi = 3.14159265
    if (shape == "circle") printf "circle %.1f,%.1f %.1f,%.1f", x, y, x + r, y
    if (shape == "ring") printf "circle %.1f,%.1f %.1f,%.1f", x, y, x + 0.8 * r, y
    if (shape == "square") printf "rectangle %.1f,%.1f %.1f,%.1f", x - 0.85 * r, y - 0.85 * r, x + 0.85 * r, y + 0.85 * r
    if (shape == "triangle") printf "polygon %.1f,%.1f %.1f,%.1f %.1f,%.1f", x, y - r, x - 0.95 * r, y + 0.75 * r, x + 0.95 * r, y + 0.75 * r
    if (shape == "diamond") printf "polygon %.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f", x, y - r, x + 0.8 * r, y, x, y + r, x - 0.8 * r, y
    if (shape == "cross") {
      a = r / 3
      printf "polygon %.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f", \
        x - a, y - r, x + a, y - r, x + a, y - a, x + r, y - a, x + r, y + a, x + a, y + a, \
        x + a, y + r, x - a, y + r, x - a, y + a, x - r, y + a, x - r, y - a, x - a, y - a
    }
    if (shape == "star") {
      printf "polygon"
      for (i = 0; i < 10; i++) {
        d = i % 2 ? 0.4 * r : r
        printf " %.1f,%.1f", x + d * sin(i * pi / 5), y - d * cos(i * pi / 5)
      }
    }
    if (shape == "heart")
      printf "path \"M %.1f,%.1f C %.1f,%.1f %.1f,%.1f %.1f,%.1f C %.1f,%.1f %.1f,%.1f %.1f,%.1f Z\"", x, y + r, \
        x - 1.9 * r, y - 0.2 * r, x - 0.7 * r, y - 1.4 * r, x, y - 0.45 * r, \
        x + 0.7 * r, y - 1.4 * r, x + 1.9 * r, y - 0.2 * r, x, y + r
  }'
}

for number in $(seq 1 48); do
  shape=${shapes[$((number % 8))]}
  color=${colors[$((RANDOM % 12))]}
  light=1
  case $color in white | yellow | cyan | pink) light=0 ;; gray) color=red ;; esac
  case $((number / 8 % 4)) in 0) kind=plain ;; 1) kind=shaded ;; 2) kind=cloudy ;; 3) kind=photo ;; esac
  between 120 320; width=$value; between 100 260; height=$value
  smaller=$((width < height ? width : height))
  between 22 44; radius=$((smaller * value / 100))
  between "$radius" $((width - radius)); x=$value; between "$radius" $((height - radius)); y=$value
  ground $kind $width $height $light "$temporary/ground.png"
  paint=(-fill "${hex[$color]}" -stroke none)
  [ "$shape" != ring ] || paint=(-fill none -stroke "${hex[$color]}" -strokewidth $((radius * 4 / 10)))
  "$magick" "$temporary/ground.png" "${paint[@]}" -draw "$(outline "$shape" "$x" "$y" "$radius")" "$temporary/shape.png"
  finish "$temporary/shape.png" "shape$number"
  article=a
  [ "$color" != orange ] || article=an
  case $((number % 3)) in
    0) ask "foreign shapes" "$value" "What shape is this?" "$shape" ;;
    1) ask "foreign shapes" "$value" "What color is the shape?" "$color" ;;
    2) ask "foreign shapes" "$value" "What do you see?" "$article $color $shape" ;;
  esac
done

lines=("Opening hours" "Monday 9 to 17" "Closed on Sunday" "Phone 5550 214")
ask_page() {
  ask "foreign page" "$1" "Read line 1." "${lines[0]}"
  ask "foreign page" "$1" "Read line 3." "${lines[2]}"
  ask "foreign page" "$1" "What does line 2 say?" "${lines[1]}"
  ask "foreign page" "$1" "How many lines are there?" "4"
}

"$magick" -size 336x252 xc:white -font "${fonts[0]}" -pointsize 30 -fill black -annotate +20+50 "${lines[0]}" \
  -annotate +20+105 "${lines[1]}" -annotate +20+160 "${lines[2]}" -annotate +20+215 "${lines[3]}" "$out/page_magick.png"
ask_page page_magick.png

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -n "$browser" ]; then
  printf '<!doctype html><body style="margin:14px;font:30px sans-serif;background:#fffbe8;color:#203040">%s<br>%s<br>%s<br>%s</body>\n' \
    "${lines[@]}" > "$temporary/page.html"
  "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$temporary/browser" \
    --window-size=336,180 --screenshot="$out/page_browser.png" "file://$temporary/page.html" > /dev/null 2>&1 &&
    ask_page page_browser.png
fi
office=$(command -v soffice || command -v libreoffice || true)
if [ -n "$office" ]; then
  printf '<html><body><p style="font-size:40pt">%s<br>%s<br>%s<br>%s</p></body></html>\n' "${lines[@]}" > "$temporary/office.html"
  "$office" --headless -env:UserInstallation="file://$temporary/office" --convert-to png --outdir "$temporary" \
    "$temporary/office.html" > /dev/null 2>&1 &&
    "$magick" "$temporary/office.png" -trim +repage -bordercolor white -border 12 "$out/page_office.png" &&
    ask_page page_office.png
fi
echo "$out: $(ls "$out" | grep -c -v jsonl) pictures, $(wc -l < "$data") questions"
