//! What is found on the way, for people.

/// So many of either kind are told apart. A machine has a few; a stranger's image
/// may have an fstab of a million lines.
const MOST: usize = 200;

/// Obstacles and remarks, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What keeps the machine from being moved, each with what to do.
    pub obstacles: Vec<String>,
    /// What is worth knowing.
    pub remarks: Vec<String>,
}

impl Findings {
    /// Adds what keeps the machine from being moved; it says what to do.
    pub fn obstacle(&mut self, text: String) {
        add(&mut self.obstacles, text);
    }

    /// Adds what is worth knowing.
    pub fn remark(&mut self, text: String) {
        add(&mut self.remarks, text);
    }
}

/// Each once. Names from a disk may hold anything; a terminal must not obey it.
fn add(texts: &mut Vec<String>, text: String) {
    if texts.len() > MOST {
        return;
    }
    let text: String = text
        .chars()
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect();
    if texts.contains(&text) {
        return;
    }
    texts.push(match texts.len() {
        MOST => "there is more, which is not said".to_owned(),
        _ => text,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_and_not_without_end() {
        let mut findings = Findings::default();
        for number in 0..3 * MOST {
            findings.remark(format!("line {}", number / 2));
            findings.obstacle("the same".to_owned());
        }
        assert_eq!(findings.obstacles, ["the same"]);
        assert_eq!(findings.remarks.len(), MOST + 1);
        assert_eq!(findings.remarks[MOST - 1], format!("line {}", MOST - 1));
        assert_eq!(findings.remarks[MOST], "there is more, which is not said");
    }
}
