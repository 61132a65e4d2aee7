// Filter the practices of the index by what one types: rows without all of its words are hidden.
const field = document.getElementById("filter");
field?.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const table of document.querySelectorAll("article table")) {
    const rows = [...table.querySelectorAll("tbody tr")];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const section = table.closest(".md-typeset__scrollwrap") ?? table;
    section.hidden = rows.every((row) => row.hidden);
    const heading = section.previousElementSibling;
    if (heading?.tagName === "H2") heading.hidden = section.hidden;
  }
});
