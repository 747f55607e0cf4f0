//! `Authorization` values of every kind that a client may send, right and wrong.

use crate::support::Random;

/// What one request carries: its `Authorization` fields, byte for byte.
pub(super) type Fields = Vec<Vec<u8>>;

/// The name of those that are the same whatever is drawn.
pub(super) const FIXED: &str = "fixed";

/// A way in which a value is made, and its name.
type Way = (&'static str, fn(&mut Draw<'_>) -> Fields);

const WAYS: [Way; 17] = [
    ("blanks", blanks),
    ("case", case),
    ("parts", parts),
    ("cut or longer", length),
    ("long", long),
    ("Latin-1", latin_1),
    ("Unicode", unicode),
    ("no UTF-8", no_utf8),
    ("scheme", scheme),
    ("list", list),
    ("quotes", quotes),
    ("fields", repeated),
    ("control", control),
    ("separator", separator),
    ("prefix", prefix),
    ("sibling", sibling),
    ("noise", noise),
];

/// Values that are worth sending whatever is drawn, and then `count` drawn ones, each with the name of
/// its way; `tokens` are mixed into them.
pub(super) fn values(
    seed: u64,
    count: usize,
    scheme: &str,
    tokens: &[String],
) -> Vec<(&'static str, Fields)> {
    let mut draw = Draw { random: Random::new(seed), scheme, tokens };
    let fixed = fixed(scheme, tokens).into_iter().map(|fields| (FIXED, fields));
    let drawn = WAYS.iter().cycle().take(count).map(|(name, way)| (*name, way(&mut draw)));
    fixed.chain(drawn).collect()
}

struct Draw<'t> {
    random: Random,
    scheme: &'t str,
    tokens: &'t [String],
}

impl<'t> Draw<'t> {
    fn below(&mut self, end: usize) -> usize {
        self.random.below(end)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn token(&mut self) -> &'t str {
        &self.tokens[self.random.below(self.tokens.len())]
    }

    /// Up to `most` blanks that a field may hold.
    fn blanks(&mut self, least: usize, most: usize) -> String {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| self.one(&[' ', ' ', '\t'])).collect()
    }

    fn hex(&mut self, len: usize) -> String {
        let mut digit = || char::from(b"0123456789abcdef"[self.random.below(16)]);
        (0..len).map(|_| digit()).collect()
    }

    /// Some letters in the other case.
    fn case(&mut self, text: &str) -> String {
        let other = |letter: char| {
            if letter.is_ascii_lowercase() {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            }
        };
        text.chars().map(|it| if self.random.below(2) == 0 { other(it) } else { it }).collect()
    }

    /// A token with something put into it, anywhere between two of its characters.
    fn token_with(&mut self, piece: &[u8]) -> Vec<u8> {
        let token = self.token();
        let mut at = self.below(token.len() + 1);
        while !token.is_char_boundary(at) {
            at -= 1;
        }
        [&token.as_bytes()[..at], piece, &token.as_bytes()[at..]].concat()
    }
}

fn one(value: impl Into<Vec<u8>>) -> Fields {
    vec![value.into()]
}

fn fixed(scheme: &str, tokens: &[String]) -> Vec<Fields> {
    let mut all = vec![vec![]];
    let bare = [
        String::new(),
        scheme.to_owned(),
        scheme.to_lowercase(),
        format!("{scheme} "),
        format!("\t{scheme}\t"),
        format!("{scheme} a b c"),
        "Basic dXNlcjpwYXNz".to_owned(),
        format!("{scheme} {}", "a".repeat(8_100)),
        format!("{scheme} {}", "a".repeat(8_180)),
        format!("{scheme} a\x0bb"),
    ];
    all.extend(bare.map(one));
    all.push(one([scheme.as_bytes(), b" t\xf6k\xe9n"].concat()));
    for token in tokens {
        let (upper, lower) = (scheme.to_uppercase(), scheme.to_lowercase());
        let values = [
            format!("{scheme} {token}"),
            format!("{upper} {token}"),
            format!("{lower} {token}"),
            format!("{scheme}  {token}"),
            format!("{scheme}\t{token}"),
            format!(" {scheme} {token}"),
            format!("{scheme} {token} "),
            format!("{scheme} {token}\t"),
            format!("\t{scheme}\t\t{token}"),
            format!("{scheme} {token} x"),
            format!("{scheme} {}", token.to_uppercase()),
            format!("Digest {token}"),
            format!("{scheme}{token}"),
            token.clone(),
        ];
        all.extend(values.map(one));
        let twice = one(format!("{scheme} {token}"));
        all.push([twice.clone(), twice].concat());
    }
    all
}

/// Blanks before, between and behind the parts.
fn blanks(draw: &mut Draw<'_>) -> Fields {
    let (before, between, behind) = (draw.blanks(0, 3), draw.blanks(1, 4), draw.blanks(0, 3));
    let (scheme, token) = (draw.scheme, draw.token());
    one(format!("{before}{scheme}{between}{token}{behind}"))
}

fn case(draw: &mut Draw<'_>) -> Fields {
    let scheme = draw.case(draw.scheme);
    let token = draw.token();
    let token = if draw.below(2) == 0 { draw.case(token) } else { token.to_owned() };
    one(format!("{scheme} {token}"))
}

/// From none to five words behind the scheme.
fn parts(draw: &mut Draw<'_>) -> Fields {
    let mut value = draw.scheme.to_owned();
    for _ in 0..draw.below(6) {
        value += &draw.blanks(1, 2);
        let word = draw.token();
        value += draw.one(&[word, "x", draw.scheme, ",", "\""]);
    }
    one(value)
}

fn length(draw: &mut Draw<'_>) -> Fields {
    let token = draw.token();
    let token = if draw.below(2) == 0 {
        let keep = draw.below(token.chars().count() + 1);
        token.chars().take(keep).collect()
    } else {
        let more = 1 + draw.below(80);
        format!("{token}{}", draw.hex(more))
    };
    one(format!("{} {token}", draw.scheme))
}

/// As long as servers take, and about where the first of them gives up.
fn long(draw: &mut Draw<'_>) -> Fields {
    let len = if draw.below(3) == 0 { 8_140 + draw.below(60) } else { 200 + draw.below(7_900) };
    let token = draw.hex(len);
    one(format!("{} {token}", draw.scheme))
}

/// High bytes, which are UTF-8 only by chance.
fn latin_1(draw: &mut Draw<'_>) -> Fields {
    let count = 1 + draw.below(3);
    let piece: Vec<u8> =
        (0..count).map(|_| u8::try_from(0x80 + draw.below(0x80)).unwrap()).collect();
    let token = draw.token_with(&piece);
    one([draw.scheme.as_bytes(), b" ", &token].concat())
}

/// Characters that others may take for a blank, a letter of the scheme, or one of the token.
fn unicode(draw: &mut Draw<'_>) -> Fields {
    let characters = [
        "é", "ß", "ｔ", "漢字", "😀", "e\u{301}", "\u{a0}", "\u{2003}", "\u{feff}", "İ",
        "\u{212a}", "ﬁ", "\u{200b}", "\u{85}", "\u{2028}",
    ];
    let piece = draw.one(&characters);
    let token = draw.token_with(piece.as_bytes());
    let scheme = draw.scheme.as_bytes();
    one(match draw.below(4) {
        // Between scheme and token, in place of a blank.
        0 => [scheme, piece.as_bytes(), &token].concat(),
        1 => [scheme, piece.as_bytes(), b" ", &token].concat(),
        2 => [format!("To{piece}en").as_bytes(), b" ", &token].concat(),
        _ => [scheme, b" ", &token].concat(),
    })
}

/// What looks like UTF-8: overlong forms, surrogates, beyond the last character, cut off.
fn no_utf8(draw: &mut Draw<'_>) -> Fields {
    let pieces: [&[u8]; 10] = [
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xe2\x82",
        b"\x80",
        b"\xff",
    ];
    let piece = draw.one(&pieces);
    let token = draw.token_with(piece);
    let more: &[u8] = draw.one(&[b"", b"", b" x"]);
    one([draw.scheme.as_bytes(), b" ", &token, more].concat())
}

fn scheme(draw: &mut Draw<'_>) -> Fields {
    let others = [
        "Bearer",
        "Basic",
        "Digest",
        "Tok",
        "Tokens",
        "Token:",
        "xToken",
        "T",
        "JWT",
        "Token,",
        "Négocier",
        "ApiKey",
        "\"Token\"",
        "Token\u{301}",
    ];
    let other = draw.one(&others);
    let parts = draw.below(4);
    one((0..parts).fold(other.to_owned(), |value, _| format!("{value} {}", draw.token())))
}

fn list(draw: &mut Draw<'_>) -> Fields {
    let (first, second) = (draw.token(), draw.token());
    let scheme = draw.scheme;
    let comma = draw.one(&[",", ", ", " ,", " , ", ";", "; "]);
    one(match draw.below(5) {
        0 => format!("{scheme} {first}{comma}{scheme} {second}"),
        1 => format!("{scheme} {first}{comma}{second}"),
        2 => format!("Basic dXNlcjpwYXNz{comma}{scheme} {second}"),
        3 => format!("{scheme} {first}{comma}"),
        _ => format!("{comma}{scheme} {first}"),
    })
}

fn quotes(draw: &mut Draw<'_>) -> Fields {
    let (scheme, token) = (draw.scheme, draw.token());
    let quote = draw.one(&["\"", "'", "`", "\\", "“"]);
    one(match draw.below(5) {
        0 => format!("{scheme} {quote}{token}{quote}"),
        1 => format!("{scheme} token={quote}{token}{quote}"),
        2 => format!("{quote}{scheme} {token}{quote}"),
        3 => format!("{scheme} {token}{quote}"),
        _ => format!("{quote}{scheme}{quote} {quote}{token}{quote}"),
    })
}

/// Several fields: of ours, of another scheme, empty, cut off.
fn repeated(draw: &mut Draw<'_>) -> Fields {
    let count = 2 + draw.below(3);
    let mut field = || -> Vec<u8> {
        let (scheme, token) = (draw.scheme, draw.token());
        match draw.below(8) {
            0..=2 => format!("{scheme} {token}").into(),
            3 => format!("Bearer {token}").into(),
            4 => scheme.into(),
            5 => token.into(),
            6 => [scheme.as_bytes(), b" ", &draw.token_with(b"\xff")].concat(),
            _ => Vec::new(),
        }
    };
    (0..count).map(|_| field()).collect()
}

/// Bytes that no field may hold, but for the end of a line, which would end the field.
fn control(draw: &mut Draw<'_>) -> Fields {
    let bytes = [0x00, 0x01, 0x08, 0x0b, 0x0c, 0x0e, 0x1b, 0x1c, 0x1f, 0x7f];
    let piece = [draw.one(&bytes)];
    let token = draw.token_with(&piece);
    let scheme = draw.scheme.as_bytes();
    one(match draw.below(3) {
        0 => [scheme, &piece[..], &token].concat(),
        1 => [scheme, b" ", &token].concat(),
        _ => [scheme, b" ", draw.token().as_bytes(), &piece[..]].concat(),
    })
}

/// Something else between scheme and token than a blank.
fn separator(draw: &mut Draw<'_>) -> Fields {
    let separators: [&[u8]; 12] =
        [b"=", b":", b": ", b" = ", b"/", b"\xa0", b"\x85", b" \xa0", b"+", b"%20", b"_", b""];
    let separator = draw.one(&separators);
    one([draw.scheme.as_bytes(), separator, draw.token().as_bytes()].concat())
}

fn prefix(draw: &mut Draw<'_>) -> Fields {
    let (scheme, token) = (draw.scheme, draw.token());
    let prefix = draw.one(&["acme_", "ACME_", "acme-", "acme", "tower_", "_"]);
    one(match draw.below(3) {
        0 => format!("{scheme} {prefix}{token}"),
        1 => format!("{scheme} {}", token.trim_start_matches("acme_")),
        _ => format!("{scheme} {prefix} {token}"),
    })
}

/// The first 15 characters of a token, by which knox finds it, and others behind them.
fn sibling(draw: &mut Draw<'_>) -> Fields {
    let begin: String = draw.token().chars().take(15).collect();
    let len = draw.below(60);
    let end = draw.hex(len);
    one(format!("{} {begin}{end}", draw.scheme))
}

/// Anything that may stand in a field.
fn noise(draw: &mut Draw<'_>) -> Fields {
    let len = draw.below(40);
    let mut byte = || u8::try_from(0x20 + draw.random.below(0xe0)).unwrap();
    let noise: Vec<u8> = (0..len).map(|_| byte()).filter(|byte| *byte != 0x7f).collect();
    let scheme = draw.scheme.as_bytes();
    one(if draw.below(2) == 0 { noise } else { [scheme, b" ", &noise].concat() })
}
