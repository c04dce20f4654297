// TCP echo on bare epoll: one thread, level-triggered, three system calls a request. What echo_weft is held to.
//
//   echo_epoll PORT     serves (port 0: any) until SIGTERM or SIGINT, then prints what each request cost.

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

static void stop(int number) {
  (void)number;
  stopped = 1;
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec * 1e-6; }

static void watch(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) exit((perror("epoll_ctl"), 1));
}

int main(int argc, char** argv) {
  if (argc < 2) return fprintf(stderr, "usage: echo_epoll PORT\n"), 2;
  const int one = 1;
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);  // accepted sockets inherit it
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)atoi(argv[1])),
                                .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  if (bind(listener, (struct sockaddr*)&address, sizeof address) != 0 || listen(listener, 4096) != 0)
    return perror("listen"), 1;

  struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, listener);
  socklen_t size = sizeof address;
  getsockname(listener, (struct sockaddr*)&address, &size);
  fprintf(stderr, "echo_epoll: serving 127.0.0.1:%d\n", ntohs(address.sin_port));

  double requests = 0;
  static char buffer[16 * 1024];
  while (!stopped) {
    struct epoll_event events[128];
    const int count = epoll_wait(epoll, events, 128, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        const int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) watch(epoll, accepted);
        continue;
      }
      const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
      if (n > 0 && send(fd, buffer, (size_t)n, MSG_NOSIGNAL) == n)
        ++requests;
      else if (n >= 0 || errno != EAGAIN)
        close(fd);
    }
  }
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  printf("{\"server\": \"epoll\", \"requests\": %.0f, \"cpu_us_per_request\": %.3f, \"user_us\": %.3f}\n", requests,
         (seconds(used.ru_utime) + seconds(used.ru_stime)) / requests * 1e6, seconds(used.ru_utime) / requests * 1e6);
  return 0;
}
