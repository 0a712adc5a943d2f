import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/** A WebSocket: says what it hears first, sends a word, says what comes back. */
public class Socket {
    public static void main(String[] arguments) throws Exception {
        CompletableFuture<Void> over = new CompletableFuture<>();
        HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create(arguments[0]), new WebSocket.Listener() {
            int heard = 0;

            public CompletionStage<?> onText(WebSocket socket, CharSequence text, boolean last) {
                System.out.println(text);
                socket.request(1);
                if (heard++ == 0) {
                    socket.sendText("and you", true);
                } else {
                    socket.sendClose(WebSocket.NORMAL_CLOSURE, "").thenRun(() -> over.complete(null));
                }
                return null;
            }

            public void onError(WebSocket socket, Throwable error) {
                over.completeExceptionally(error);
            }
        }).exceptionally(error -> {
            System.out.println("refused: " + error.getCause());
            over.complete(null);
            return null;
        });
        over.get();
    }
}
