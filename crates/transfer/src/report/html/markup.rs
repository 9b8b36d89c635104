//! HTML in which a stranger's text can only ever be text.

/// A page in the making: literals of this program go in as they are, all else
/// escaped.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup. Being `'static`, it is ours.
    pub fn lit(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, also within an attribute's quotes.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                c if c.is_control() || reorders(c) => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A number of the drawing.
    pub fn number(&mut self, number: f64) -> &mut Self {
        let text = format!("{number:.1}");
        self.0.push_str(text.strip_suffix(".0").unwrap_or(&text));
        self
    }

    /// A text between two tags.
    pub fn within(&mut self, open: &'static str, text: &str, close: &'static str) -> &mut Self {
        self.lit(open).text(text).lit(close)
    }

    /// A table's cell.
    pub fn cell(&mut self, text: &str) -> &mut Self {
        self.within("<td>", text, "</td>")
    }

    /// A table's cell with a number in it.
    pub fn figure(&mut self, text: &str) -> &mut Self {
        self.within("<td class=\"n\">", text, "</td>")
    }

    /// The whole.
    pub fn finish(self) -> String {
        self.0
    }
}

/// Whether the character changes the order in which others are shown, so that
/// a name reads as another one.
fn reorders(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_markup() {
        let mut html = Html::default();
        html.lit("<p title=\"")
            .text("\" onload='x'><script>&amp;\u{1b}\u{202e}é\n")
            .lit("\">");
        assert_eq!(
            html.finish(),
            "<p title=\"&quot; onload=&#39;x&#39;&gt;&lt;script&gt;&amp;amp;\u{fffd}\u{fffd}é\n\">"
        );
    }

    #[test]
    fn numbers_are_short() {
        let mut html = Html::default();
        html.number(12.0)
            .lit(" ")
            .number(0.26)
            .lit(" ")
            .number(-1.5);
        assert_eq!(html.finish(), "12 0.3 -1.5");
    }
}
