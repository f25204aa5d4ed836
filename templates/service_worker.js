{% load static %}// Receives the photo that another app shares with the installed one: it is kept as that of a visitor who signs in.
// Without a connection, pages and their files come from what the installed app keeps, which is the editor.
import { CACHE } from "{% static 'js/installed_app.js' %}"
import { keep } from "{% static 'js/pending_photo.js' %}"

const EDITOR = "{% url 'editor' %}"

self.addEventListener("install", () => self.skipWaiting())
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()))
self.addEventListener("fetch", (event) => {
  const { method, url, destination } = event.request
  if (method === "POST" && new URL(url).pathname === "{% url 'shared-photo' %}") event.respondWith(receive(event.request))
  if (method === "GET" && destination) event.respondWith(load(event)) // a page or a file of it; a script's own requests have none
})

/** Keeps the photo for the editor. Where there is none, or this browser cannot keep it, a page asks for it again. */
async function receive(request) {
  const photo = (await request.formData()).get("{{ field }}")
  const isKept = photo instanceof File && (await keep(photo).then(() => true, () => false))
  return Response.redirect(isKept ? `${EDITOR}?photo` : request.url, 303)
}

async function load(event) {
  const { request } = event
  const isPage = request.mode === "navigate"
  try {
    const response = await fetch(request)
    if (isPage && response.ok && new URL(request.url).pathname === EDITOR) event.waitUntil(keepPage(response.clone()))
    return response
  } catch (error) {
    const kept = await caches.match(request, { ignoreSearch: isPage })
    if (kept) return kept
    throw error
  }
}

/** Keeps the page at the editor's address, which is another one once nobody is signed in. */
async function keepPage(response) {
  await (await caches.open(CACHE)).put(EDITOR, response)
}
