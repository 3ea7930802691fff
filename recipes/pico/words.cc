#include "pico/words.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <vector>

namespace minicpm::pico {
namespace {

constexpr std::string_view kCommon =
    "am an as at be by do go he if in is it me my no of on or so to up us we "
    "act add age ago air all and any arm art ask bad bag bar bed big bit box boy bus but buy can car cat cow cry cup "
    "cut "
    "day did dog dry due ear eat egg end eye far few fit fly for fun gas get god got had has hat her hot how ice its "
    "job "
    "key kid lay leg let lie lot low man map may men new nor not now off oil old one our out own pay pen per pot put "
    "red "
    "run sad say sea see set she sit six sky son sun tax ten the tie too top try two use van war was way web wet who "
    "why "
    "win yes yet you zoo "
    "able also area army away baby back ball band bank base bath bear beat bell best bill bird blue boat body book "
    "born "
    "both bowl burn busy call calm came camp card care case cash city club coal coat code cold come cook cool copy "
    "corn "
    "cost dark data date dead deal dear deep desk door down draw drop duck dust duty each east easy edge even ever "
    "evil "
    "exit face fact fair fall farm fast fear feel feet file film find fine fire fish five flag flat flow food foot "
    "form "
    "four free from full game gate gift girl give glad goal gold good gray grow hair half hall hand hard have head "
    "hear "
    "heat help here hide high hill hold hole holy home hope hour huge idea inch into iron item join jump just keep "
    "kind "
    "king knee know lake lamp land last late lead leaf left less life lift like line lion list live load lock long "
    "look "
    "lord lose loud love luck made mail main make many mark math meal mean meat meet menu milk mind mine moon more "
    "most "
    "move much must name near neck need news next nice nine node none nose note open oven over pack page pair park "
    "part "
    "past path peak pick pink pipe plan play plot poem pool poor post push quit race rain read real rest rice rich "
    "ride "
    "ring rise risk road rock roof room root rose rule safe sale salt same sand save seat seed sell send ship shoe "
    "shop "
    "show sign silk sing size skin slow snow soap soft soil some song soon sort soul soup star stay step stop such "
    "suit "
    "swim tail take talk tall task team tell tent test text than that them then they thin this time tiny tone took "
    "tool "
    "town tree trip true turn type unit upon very view wait walk wall want warm wash wave weak wear week well went "
    "were "
    "west what when wide wife wild will wind wine wing wire wise wish with wood word work yard year zero zone "
    "about above agree alarm album alone angle apple arrow beach begin black blood board brain bread break brick bring "
    "brown brush build cable candy chair cheap check chess chief child class clean clear clock close cloud coast color "
    "count cover cream crowd dance death depth dozen dream dress drink drive early earth empty enjoy enter equal every "
    "extra faith fever field fight final first floor focus force fresh front fruit glass grade grand grass green group "
    "guess guide happy heart heavy horse hotel house human image issue jelly joint judge juice knife large laugh learn "
    "lemon level light local lucky lunch magic major march maybe metal model money month motor mouse mouth movie music "
    "never night noise north novel ocean offer onion order other paint panel paper party peace phone photo piano piece "
    "pilot pizza place plane plant plate point power press price pride prize proof queen quick quiet radio reach ready "
    "right river robot round royal salad scale score sense seven shape share sharp sheep sheet shelf shirt short sleep "
    "small smart smile smoke snake solid sound south space speak speed spoon sport stage stamp start steam stone storm "
    "story sugar sweet table taste teach thank there thing think three tiger title today topic touch tower track trade "
    "train truck trust truth twice uncle under until upper video visit voice waste watch water wheel where white whole "
    "woman world worry write wrong young youth zebra "
    "active animal answer autumn banana basket battle beauty better bottle bridge bright butter camera carpet castle "
    "center chance change cheese church circle coffee common corner cotton county cousin credit damage dinner doctor "
    "double dragon driver effect effort eleven energy engine expert family famous farmer father figure finger flower "
    "forest friend future garden gather gentle ground guitar happen health height hidden island jacket jungle kitten "
    "ladder leader letter liquid listen little lovely market master member middle minute mirror mobile modern moment "
    "monkey mother motion museum nation nature needle number object office orange palace parent pencil people pepper "
    "period person planet player pocket police potato public purple puzzle rabbit random reason record result return "
    "rocket school screen search second secret shadow silver simple single sister soccer spring square station stream "
    "street strong summer supper switch symbol system temple tennis ticket tomato travel triple tunnel turtle twenty "
    "useful valley vision volume wallet weight window winter wonder yellow "
    "account advance airport ancient another balance between bicycle blanket brother builder cabinet captain capture "
    "central century chapter chicken company concert control country culture current dentist diamond drawing evening "
    "example explain express factory feeling fiction finance foreign formula forward freedom gallery general general "
    "harvest healthy history holiday husband imagine instant journey justice kitchen kingdom library machine manager "
    "measure message million mineral mission monster morning network nothing officer opinion outside package painter "
    "passage patient pattern penguin perfect picture popular present problem process product program project promise "
    "quality quarter rainbow reading respect science section service silence society soldier special station student "
    "subject success sunrise support surface teacher theater thought thunder tonight traffic trouble vehicle village "
    "visitor volcano weather website wedding welcome western whisper "
    "aircraft although american audience birthday building business calendar campaign champion children computer "
    "customer daughter decision delivery dinosaur distance elephant engineer evidence exercise festival football "
    "geometry graphics hardware hospital hundreds industry internet keyboard language learning magazine material "
    "medicine midnight mountain movement multiply national neighbor notebook operator painting parallel passport "
    "personal platform pleasure position possible practice pressure princess progress quantity question railroad "
    "research resource restaurant saturday sandwich schedule security sentence shoulder software solution southern "
    "strength sunshine surprise swimming teaching thousand together tomorrow training treasure triangle universe "
    "vacation wildlife wireless workshop yourself "
    "adventure afternoon algorithm apartment attention beautiful breakfast butterfly candidate certainly challenge "
    "character chocolate classroom community condition container corporate crocodile dangerous departure different "
    "difficult direction discovery education emergency encounter equipment excellent existence expensive financial "
    "furniture generator gentleman gradually guarantee happiness hurricane important influence insurance invention "
    "knowledge landscape lightning localized machinery mechanism migration milestone moonlight mushrooms naturally "
    "newspaper northeast orchestra paragraph passenger permanent photograph pineapple political president principle "
    "professor programme promotion publisher questions rectangle reference religious sculpture secretary september "
    "signature situation something spaceship spaghetti specialty statement structure sunflower technical telephone "
    "telescope temporary territory themselves treatment universal vegetable waterfall wonderful workforce yesterday "
    "absolutely accelerate accountant additional appearance atmosphere background basketball biological calculator "
    "collection comfortable commercial completely conference connection consistent controlled creativity department "
    "depression depression dictionary difference disappoint electrical electronic elementary employment everything "
    "experience experiment expression friendship generation government historical importance impossible individual "
    "instrument investment journalist laboratory leadership literature management membership microscope motorcycle "
    "mysterious navigation networking operations opposition particular percentage perception playground population "
    "possession production profession protection psychology reasonable reputation resolution revolution scientific "
    "settlement skateboard strawberry successful technology television tournament tremendous understand university "
    "visibility vocabulary volleyball watermelon";

/// Common words by length.
const std::vector<std::vector<std::string_view>>& common_words() {
  static const std::vector<std::vector<std::string_view>> words = [] {
    std::vector<std::vector<std::string_view>> by_length(16);
    size_t at = 0;
    while (at < kCommon.size()) {
      const size_t end = std::min(kCommon.find(' ', at), kCommon.size());
      if (end > at && end - at < by_length.size()) by_length[end - at].push_back(kCommon.substr(at, end - at));
      at = end + 1;
    }
    return by_length;
  }();
  return words;
}

std::string random_letters(Random& random, int length) {
  std::string word;
  for (int i = 0; i < length; ++i)
    word += static_cast<char>('a' + random.below(26));
  return word;
}

std::string pronounceable(Random& random, int length) {
  constexpr std::string_view kVowels = "aeiouaeiouy", kConsonants = "bcdfghjklmnpqrstvwxzbcdfglmnprst";
  std::string word;
  bool vowel = random.chance(0.3f);
  while (static_cast<int>(word.size()) < length) {
    const std::string_view letters = vowel ? kVowels : kConsonants;
    word += letters[static_cast<size_t>(random.below(static_cast<int>(letters.size())))];
    if (random.chance(0.85f)) vowel = !vowel;
  }
  return word;
}

std::string upper(std::string text, size_t count) {
  for (size_t i = 0; i < std::min(count, text.size()); ++i) {
    text[i] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[i])));
  }
  return text;
}

/// Whether the letters alone tell case and kind: l, I, O and those that look alike in both cases do not.
bool is_clear(std::string_view word) {
  return word.find_first_not_of("cosuvwxzlCOSUVWXZIO") != std::string_view::npos;
}

}  // namespace

std::string make_word(Random& random, int min_letters, int max_letters) {
  const int length = random.between(min_letters, max_letters);
  const float how = random.uniform();
  const float style = random.uniform();
  for (;;) {
    std::string word;
    const auto& words = common_words();
    const bool known = length < static_cast<int>(words.size()) && !words[static_cast<size_t>(length)].empty();
    if (how < 0.5f) {
      word = random_letters(random, length);
    } else if (how < 0.83f || !known) {
      word = pronounceable(random, length);
    } else {
      word = random.pick(words[static_cast<size_t>(length)]);
    }
    if (style >= 0.75f) {
      word = upper(word, word.size());
    } else if (style >= 0.55f) {
      word = upper(word, 1);
    }
    if (is_clear(word)) return word;
  }
}

std::string make_number(Random& random, int min_digits, int max_digits) {
  const int length = random.between(min_digits, max_digits);
  std::string number;
  do {
    number.clear();
    for (int i = 0; i < length; ++i)
      number += static_cast<char>('0' + random.below(10));
  } while (length > 1 && number.find_first_not_of("01") == std::string::npos);
  const float how = random.uniform();
  if (length >= 2 && how < 0.07f) {
    number.insert(static_cast<size_t>(random.between(1, length - 1)), ".");
  } else if (length == 4 && how < 0.14f) {
    number.insert(2, ":");
  } else if (how >= 0.92f) {
    constexpr std::string_view kSigns[] = {"-", "+", "$"};
    number = std::string(random.pick(kSigns)) + number;
  } else if (how >= 0.88f) {
    number += "%";
  }
  return number;
}

std::string make_text(Random& random, int max_characters, int min_letters, int max_letters) {
  std::string text;
  for (int tries = 0; tries < 6; ++tries) {
    const int room = max_characters - static_cast<int>(text.size()) - (text.empty() ? 0 : 1);
    const int longest = std::max(min_letters, std::min(max_letters, room));
    const std::string word =
        random.chance(0.12f) ? make_number(random, 1, std::min(4, longest)) : make_word(random, min_letters, longest);
    if (!text.empty() && static_cast<int>(word.size()) > room) continue;
    if (!text.empty()) text += ' ';
    text += word;
  }
  if (random.chance(0.1f) && static_cast<int>(text.size()) < max_characters) {
    constexpr std::string_view kMarks = ".,!?:;";
    text += kMarks[static_cast<size_t>(random.below(static_cast<int>(kMarks.size())))];
  }
  return text;
}

}  // namespace minicpm::pico
