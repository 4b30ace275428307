// How the user gives photographs: chosen, dropped, pasted, or one of the examples. Several are shown one by one.

const $ = (id) => document.getElementById(id);
const given = { photos: [], place: 0 };

// take(photo): called with the photograph to show.
export function watchPhotographs(take) {
  const turnTo = (place) => {
    const count = given.photos.length;
    given.place = (place + count) % count;
    const photo = given.photos[given.place];
    $("several").hidden = count < 2;
    $("which").textContent = `${given.place + 1} of ${count}: ${photo.name}`;
    take(photo);
  };
  const takeAll = (photos) => {
    if (!photos.length) return;
    given.photos = [...photos];
    turnTo(0);
  };
  $("file").multiple = true;
  $("file").addEventListener("change", (event) => takeAll(event.target.files));
  $("another").addEventListener("click", () => $("file").click());
  $("previous").addEventListener("click", () => turnTo(given.place - 1));
  $("next").addEventListener("click", () => turnTo(given.place + 1));
  for (const button of document.querySelectorAll("#examples button")) {
    button.addEventListener("click", async () => {
      const photo = await (await fetch(button.querySelector("img").src)).blob();
      takeAll([new File([photo], button.dataset.file, { type: photo.type })]);
    });
  }
  document.addEventListener("paste", (event) => takeAll(event.clipboardData.files));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    takeAll(event.dataTransfer.files);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", event.dataTransfer.types.includes("Files"));
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
}
