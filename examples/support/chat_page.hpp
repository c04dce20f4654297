#pragma once
// The page of the chat: no build step, no other file.

inline constexpr char chat_page[] = R"(<!doctype html>
<meta charset="utf-8">
<title>chat</title>
<style>
  body { font: 16px sans-serif; max-width: 40em; margin: 2em auto; }
  #lines { height: 24em; overflow: auto; border: 1px solid #bbb; padding: .5em; white-space: pre-wrap; }
  input { width: 100%; box-sizing: border-box; font: inherit; padding: .5em; }
</style>
<div id="lines"></div>
<form><input autofocus autocomplete="off" maxlength="900" placeholder="your name, then what you want to say"></form>
<script>
  const lines = document.getElementById('lines'), input = document.querySelector('input');
  const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/chat`);
  const show = text => { lines.append(text + '\n'); lines.scrollTop = lines.scrollHeight; };
  socket.onmessage = event => show(event.data);
  socket.onclose = () => { show('(the connection ended)'); input.disabled = true; };
  document.querySelector('form').onsubmit = event => {
    event.preventDefault();
    if (input.value) socket.send(input.value);
    input.value = '';
  };
</script>
)";
