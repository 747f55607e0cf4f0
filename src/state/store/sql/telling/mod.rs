//! Triggers that tell of changes in a PostgreSQL database, whoever makes them: what one is made of, and the
//! statements that make it.
//!
//! A payload is `k` and a key's id, `o` and an owner's, or `*` for everything: never a digest, never a
//! token, at most 128 bytes.

mod standing;

pub(in crate::state::store) use standing::{BEGIN_MENDING, Found, put_right, standing};

/// All that tells of one store's tables.
pub(in crate::state::store) struct Telling {
    /// The schema of the functions, a literal.
    pub(in crate::state::store) schema: String,
    /// On which channel they tell, an expression.
    pub(in crate::state::store) channel: String,
    /// What the channels of heartbeats begin with.
    pub(in crate::state::store) alive: String,
    pub(in crate::state::store) functions: Vec<Function>,
    pub(in crate::state::store) triggers: Vec<Trigger>,
}

/// A function without arguments, which pins the path on which names are looked up.
pub(in crate::state::store) struct Function {
    pub(in crate::state::store) name: String,
    /// As statements call it, with its schema.
    pub(in crate::state::store) quoted: String,
    /// What it has between its quotes.
    pub(in crate::state::store) body: String,
}

/// One trigger: a function of them, on a table and an event.
pub(in crate::state::store) struct Trigger {
    pub(in crate::state::store) name: String,
    /// The table's schema and name, literals.
    pub(in crate::state::store) schema: String,
    pub(in crate::state::store) relation: String,
    /// The table as statements call it, with its schema.
    pub(in crate::state::store) table: String,
    pub(in crate::state::store) event: &'static str,
    /// Which of the functions.
    pub(in crate::state::store) function: usize,
    pub(in crate::state::store) is_deferred: bool,
    pub(in crate::state::store) arguments: Vec<String>,
    /// The columns that its condition compares; none for one without a condition.
    pub(in crate::state::store) compared: &'static [&'static str],
    /// The columns of which a change counts. What a definition does to them no trigger tells of.
    pub(in crate::state::store) counted: Vec<String>,
    /// The table as the store's statements call it, which may be another one by the path on which names are
    /// looked up; empty where they name its schema.
    pub(in crate::state::store) called: String,
}

impl Telling {
    /// The functions and triggers, for a database that has none.
    #[cfg(any(test, feature = "postgres"))]
    pub(in crate::state::store) fn ddl(&self) -> String {
        let mut text = self.make_functions();
        for trigger in &self.triggers {
            text.push_str(&self.create(trigger));
            text.push_str(&trigger.enable());
        }
        text
    }

    /// The same for one that may have some of them, or others under their names.
    #[cfg(feature = "knox")]
    pub(in crate::state::store) fn ddl_anew(&self) -> String {
        let mut text = self.make_functions();
        for trigger in &self.triggers {
            let Trigger { name, table, .. } = trigger;
            text.push_str(&format!("DROP TRIGGER IF EXISTS {name} ON {table};\n\n"));
            text.push_str(&self.create(trigger));
            text.push_str(&trigger.enable());
        }
        text
    }

    /// Where one feed's heartbeats come in; `number` tells it apart from all others.
    pub(in crate::state::store) fn heartbeats(&self, number: u64) -> String {
        format!("{}{number:016x}", self.alive)
    }

    /// Blocks between blank lines are single statements.
    fn make_functions(&self) -> String {
        let make = |function: &Function| {
            format!(
                "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql\n\
                 SET search_path = pg_catalog, pg_temp AS $tell${}$tell$;\n\n",
                function.quoted, function.body
            )
        };
        self.functions.iter().map(make).collect()
    }

    fn create(&self, trigger: &Trigger) -> String {
        let Trigger { name, event, table, .. } = trigger;
        let constraint = if trigger.is_deferred { "CONSTRAINT " } else { "" };
        let deferred = if trigger.is_deferred { "DEFERRABLE INITIALLY DEFERRED " } else { "" };
        let each = if trigger.is_of_rows() { "ROW" } else { "STATEMENT" };
        let row = |of: &str| {
            let columns: Vec<_> = trigger.compared.iter().map(|c| format!("{of}.{c}")).collect();
            columns.join(", ")
        };
        let condition = if trigger.compared.is_empty() {
            String::new()
        } else {
            format!("WHEN (ROW({}) IS DISTINCT FROM ROW({}))\n", row("OLD"), row("NEW"))
        };
        let arguments: Vec<_> = trigger.arguments.iter().map(|text| literal(text)).collect();
        format!(
            "CREATE {constraint}TRIGGER {name} AFTER {event} ON {table}\n\
             {deferred}FOR EACH {each}\n{condition}EXECUTE FUNCTION {}({});\n\n",
            self.functions[trigger.function].quoted,
            arguments.join(", ")
        )
    }
}

impl Trigger {
    pub(in crate::state::store) fn is_of_rows(&self) -> bool {
        self.event != "TRUNCATE"
    }

    /// They fire ALWAYS: in sessions too whose `session_replication_role` is `replica`, and for rows that
    /// logical replication applies.
    fn enable(&self) -> String {
        format!("ALTER TABLE {} ENABLE ALWAYS TRIGGER {};\n\n", self.table, self.name)
    }
}

/// A text in SQL.
pub(in crate::state::store) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
